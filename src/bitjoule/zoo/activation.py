"""The activation functions that a zoo network may be built with.

Networks stay plain float: the quantizer of an activation is inserted later, on the captured graph, at these
modules.
"""

from torch import nn

__all__ = ["ACTIVATIONS", "activation"]

ACTIVATIONS = ("relu", "hardtanh")


def activation(name: str) -> nn.Module:
    """Return a fresh activation module: `relu` (unsigned codes) or `hardtanh` (clip to [-1, 1], for sign
    codes).

    >>> activation("hardtanh")
    Hardtanh(min_val=-1.0, max_val=1.0)
    """
    if name == "relu":
        return nn.ReLU()
    if name == "hardtanh":
        return nn.Hardtanh()
    raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
