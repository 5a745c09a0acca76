"""Which tensor has which Format, and how a binary network is repaired: Schemes, their names and errors."""

from bitjoule.scheme.base_name import SchemeError
from bitjoule.scheme.parse import parse_scheme
from bitjoule.scheme.precision import Precision
from bitjoule.scheme.repairs import REPAIRS, TAUGHT, Repair, RepairError, check_repairs, repair
from bitjoule.scheme.scheme import GraphMode, Override, Scheme

__all__ = [
    "REPAIRS",
    "TAUGHT",
    "GraphMode",
    "Override",
    "Precision",
    "Repair",
    "RepairError",
    "Scheme",
    "SchemeError",
    "check_repairs",
    "parse_scheme",
    "repair",
]
