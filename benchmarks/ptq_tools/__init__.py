"""Other tools for post-training quantization: one module of recipes per tool, run by `child.py`.

They run in interpreters of their own, started by `ptq_peers.py`, and import neither the rest of bitjoule nor
anything that a tool's environment may lack beyond torch and numpy.
"""
