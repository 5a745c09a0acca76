"""bitjoule: the quantization that costs the fewest joules at the accuracy you need."""

__version__ = "0.1.0"
