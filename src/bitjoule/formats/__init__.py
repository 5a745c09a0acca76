"""Number formats: what a number is. Levels, bits, encode, decode, rounding, scales, what hardware asks.

>>> parse_tensor_format("INT8/channel*pot").format.max_level
127
"""

from bitjoule.formats.apot import AdditivePowers, apot, uapot
from bitjoule.formats.block import BlockFormat, mx
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
from bitjoule.formats.power_of_two import PowerOfTwo, inq_exponents, power_of_two, unsigned_power_of_two
from bitjoule.formats.rounding import ROUNDINGS, round_to_integer
from bitjoule.formats.scaling import Granularity, ScaleKind, Scaling, dyadic_parts, parse_scaling
from bitjoule.formats.signed_digits import csd_count, csd_terms
from bitjoule.formats.spot import SignedPowers, greedy_powers, spot
from bitjoule.formats.successive import SuccessiveVector, approximate, sva
from bitjoule.formats.sva_row import SvaRow, SvaStep
from bitjoule.formats.tensor_format import TensorFormat, parse_tensor_format
from bitjoule.formats.traits import HardwareTraits, Multiplier, accumulator_bits, product_bits

__all__ = [
    "ROUNDINGS",
    "TRIT_BITS",
    "AdditivePowers",
    "BlockFormat",
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
    "PowerOfTwo",
    "ScaleKind",
    "Scaling",
    "SignedPowers",
    "SuccessiveVector",
    "SvaRow",
    "SvaStep",
    "TensorFormat",
    "accumulator_bits",
    "apot",
    "approximate",
    "bipolar",
    "csd_count",
    "csd_terms",
    "describe",
    "dyadic_parts",
    "format_families",
    "greedy_powers",
    "inq_exponents",
    "midrise",
    "minifloat",
    "moons",
    "mx",
    "pack",
    "pack_trits",
    "parse_format",
    "parse_scaling",
    "parse_tensor_format",
    "power_of_two",
    "product_bits",
    "register",
    "registered_formats",
    "round_to_integer",
    "signed_integer",
    "spot",
    "sva",
    "ternary",
    "uapot",
    "unpack",
    "unpack_trits",
    "unsigned_integer",
    "unsigned_power_of_two",
]
