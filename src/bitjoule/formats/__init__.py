"""Number formats: what a number is. Levels, bits, encode, decode, rounding, scales, what hardware asks.

>>> parse_tensor_format("INT8/channel*pot").format.max_level
127
"""

from bitjoule.formats.describe import describe
from bitjoule.formats.format import Format, Kind
from bitjoule.formats.integer import Integer, OneBitIntegerWarning, signed_integer, ternary, unsigned_integer
from bitjoule.formats.midrise import Midrise, bipolar, midrise
from bitjoule.formats.minifloat import Minifloat, minifloat
from bitjoule.formats.moons import Moons, moons
from bitjoule.formats.names import (
    FormatFamily,
    format_families,
    parse_format,
    register,
    registered_formats,
)
from bitjoule.formats.packing import TRIT_BITS, pack, pack_trits, unpack, unpack_trits
from bitjoule.formats.rounding import ROUNDINGS, round_to_integer
from bitjoule.formats.scaling import Granularity, ScaleKind, Scaling, dyadic_parts, parse_scaling
from bitjoule.formats.signed_digits import csd_count, csd_terms
from bitjoule.formats.tensor_format import TensorFormat, parse_tensor_format
from bitjoule.formats.traits import HardwareTraits, Multiplier, accumulator_bits, product_bits

__all__ = [
    "ROUNDINGS",
    "TRIT_BITS",
    "Format",
    "FormatFamily",
    "Granularity",
    "HardwareTraits",
    "Integer",
    "Kind",
    "Midrise",
    "Minifloat",
    "Moons",
    "Multiplier",
    "OneBitIntegerWarning",
    "ScaleKind",
    "Scaling",
    "TensorFormat",
    "accumulator_bits",
    "bipolar",
    "csd_count",
    "csd_terms",
    "describe",
    "dyadic_parts",
    "format_families",
    "midrise",
    "minifloat",
    "moons",
    "pack",
    "pack_trits",
    "parse_format",
    "parse_scaling",
    "parse_tensor_format",
    "product_bits",
    "register",
    "registered_formats",
    "round_to_integer",
    "signed_integer",
    "ternary",
    "unpack",
    "unpack_trits",
    "unsigned_integer",
]
