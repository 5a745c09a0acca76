"""What methods ask of a TensorFormat before they train it."""

from __future__ import annotations

import re

from bitjoule.formats import TensorFormat
from bitjoule.quant.config import Role

__all__ = ["granular", "uniform"]

UNIFORM = re.compile(r"INT([2-9]|1[0-6])(_NARROW)?|UINT([1-9]|1[0-6])|TERNARY")
"""Names of the Formats whose levels are whole numbers without a gap."""


def granular(tensor_format: TensorFormat, role: Role) -> bool:
    """Whether scales are those that training knows: of a tensor, for weights also of a channel.

    >>> from bitjoule.formats import parse_tensor_format
    >>> granular(parse_tensor_format("INT4/channel"), "activation")
    False
    """
    granularity = tensor_format.scaling.granularity
    return granularity == "tensor" or (granularity == "channel" and role == "weight")


def uniform(tensor_format: TensorFormat) -> bool:
    """Whether the levels are whole numbers without a gap.

    >>> from bitjoule.formats import parse_tensor_format
    >>> uniform(parse_tensor_format("INT4_NARROW")), uniform(parse_tensor_format("POT4"))
    (True, False)
    """
    return UNIFORM.fullmatch(tensor_format.format.name) is not None
