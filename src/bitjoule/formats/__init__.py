"""Number formats: what a number is. Levels, bits, encode, decode, rounding, scales, what hardware asks."""

from bitjoule.formats.format import Format
from bitjoule.formats.integer import OneBitIntegerWarning
from bitjoule.formats.names import (
    FormatFamily,
    format_families,
    parse_format,
    register,
    registered_formats,
)
from bitjoule.formats.scaling import Granularity, ScaleKind, Scaling, dyadic_parts
from bitjoule.formats.tensor_format import TensorFormat, parse_tensor_format
from bitjoule.formats.traits import HardwareTraits, accumulator_bits, product_bits

__all__ = [
    "Format",
    "FormatFamily",
    "Granularity",
    "HardwareTraits",
    "OneBitIntegerWarning",
    "ScaleKind",
    "Scaling",
    "TensorFormat",
    "accumulator_bits",
    "dyadic_parts",
    "format_families",
    "parse_format",
    "parse_tensor_format",
    "product_bits",
    "register",
    "registered_formats",
]
