"""Operators that are not multiply-accumulates, in elementary operations per output element.

Counts of energy.md section 5.3: compare = add; shift and clamp are half an add in energy and one cycle each;
exp = 6 mul + 6 add, divide and rsqrt = 4 mul + 4 add, a smooth activation of at most 8 bits is one table
look-up [assumed].
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bitjoule.formats import TensorFormat
from bitjoule.workload import Operation, Workload

__all__ = [
    "ADD",
    "FREE_KINDS",
    "MUL",
    "REQUANTIZE",
    "SELECTING_KINDS",
    "SHIFT",
    "Elementary",
    "UnknownOperation",
    "elementary_operations",
    "narrowing",
    "require_known",
]

LOOKUP_BITS = 8


@dataclass(frozen=True)
class Elementary:
    """Elementary operations per output element; they add and scale. `shifts`: shifts and clamps."""

    adds: float = 0
    muls: float = 0
    lookups: float = 0
    shifts: float = 0

    def __add__(self, other: Elementary) -> Elementary:
        return Elementary(
            self.adds + other.adds,
            self.muls + other.muls,
            self.lookups + other.lookups,
            self.shifts + other.shifts,
        )

    def __mul__(self, factor: float) -> Elementary:
        return Elementary(self.adds * factor, self.muls * factor, self.lookups * factor, self.shifts * factor)

    @property
    def total(self) -> float:
        """How many operations, whatever they are."""
        return self.adds + self.muls + self.lookups + self.shifts


class UnknownOperation(ValueError):
    """Operators without a row in this file's table; `kinds` names them all."""

    def __init__(self, kinds: Iterable[str]) -> None:
        self.kinds = tuple(sorted(set(kinds)))
        super().__init__(
            f"no operation count for {', '.join(self.kinds)}; operators with one: "
            f"{', '.join(sorted({*PER_ELEMENT, *POOLS, *PER_ROW, *SMOOTH, *FREE_KINDS}))}"
        )


ADD = Elementary(adds=1)
MUL = Elementary(muls=1)
SHIFT = Elementary(shifts=1)
EXP = Elementary(adds=6, muls=6)
DIVIDE = Elementary(adds=4, muls=4)

REQUANTIZE = Elementary(muls=1, shifts=2)
"""One multiplication, one shift, one clamp: what a result costs on its way to another scale or width."""

SELECTING_KINDS = frozenset({"max_pool", "compare"})
"""Operators whose results are values they read, or signs: nothing to requantize."""

FREE_KINDS = frozenset(
    {"identity", "dropout", "flatten", "reshape", "transpose", "slice", "concat", "pad", "constant"}
)
"""Operators that only move or rename."""

PER_ELEMENT: Mapping[str, Elementary] = MappingProxyType(
    {
        "add": ADD,
        "compare": ADD,
        "sub": ADD,
        "neg": ADD,
        "mul": MUL,
        "relu": ADD,
        "relu6": ADD * 2,
        "hardtanh": ADD * 2,
        "batch_norm": ADD + MUL,
        "leaky_relu": ADD + MUL,
        "prelu": ADD + MUL,
        "hardsigmoid": ADD * 3 + MUL,
        "hardswish": ADD * 3 + MUL * 2,
        "div": DIVIDE,
        "rsqrt": DIVIDE,
        "sqrt": DIVIDE,
        "exp": EXP,
        "pow": EXP + MUL,
        "embedding": Elementary(lookups=1),
    }
)
POOLS = frozenset({"max_pool", "avg_pool", "global_avg_pool", "mean"})
PER_ROW = frozenset({"layer_norm", "group_norm", "softmax"})
SMOOTH = frozenset({"gelu", "silu", "sigmoid", "tanh"})


def elementary_operations(operation: Operation, workload: Workload) -> Elementary:
    """Elementary operations per output element of `operation`.

    Row-wise operators count their division or root per element of the output as 1/n of a row, with n the
    attribute `row` or, without it, the whole tensor.

    Raises:
        UnknownOperation: an operator without a row in the table.
    """
    kind = operation.kind
    if kind in FREE_KINDS:
        return Elementary()
    if kind in PER_ELEMENT:
        return PER_ELEMENT[kind]
    if kind in POOLS:
        window = _window(operation, workload)
        return ADD * (window - 1) + (Elementary() if kind == "max_pool" else MUL)
    if kind in SMOOTH:
        widths = [workload.tensors[name].bits for name in operation.inputs if name in workload.tensors]
        if widths and max(widths) <= LOOKUP_BITS:
            return Elementary(lookups=1)
        return EXP + DIVIDE + MUL
    if kind in PER_ROW:
        row = operation.attributes.get("row", operation.elements)
        per_row = DIVIDE * (1 / row if isinstance(row, int) and row > 0 else 1.0)
        return (ADD * 3 + EXP + MUL if kind == "softmax" else ADD * 3 + MUL * 3) + per_row
    raise UnknownOperation([kind])


def narrowing(stored: TensorFormat) -> tuple[str, Elementary]:
    """What brings a value of another scale or width into `stored`: the kind of operation, and how much.

    One bit is one comparison with a threshold, ternary two; everything else is requantized.

    >>> from bitjoule.formats import parse_tensor_format
    >>> narrowing(parse_tensor_format("BIPOLAR"))[0], narrowing(parse_tensor_format("INT4"))[0]
    ('compare', 'requantize')
    """
    if stored.format.bits == 1:
        return "compare", ADD
    if stored.format.name == "TERNARY":
        return "compare", ADD * 2
    return "requantize", REQUANTIZE


def require_known(workload: Workload) -> None:
    """Refuse a workload with operators that have no count, naming all of them.

    Raises:
        UnknownOperation: at least one operator has no row in the table.
    """
    known = {*PER_ELEMENT, *POOLS, *PER_ROW, *SMOOTH, *FREE_KINDS}
    unknown = {operation.kind for operation in workload.operations} - known
    if unknown:
        raise UnknownOperation(unknown)


def _window(operation: Operation, workload: Workload) -> float:
    """Input values behind one output value: the kernel, or the ratio of the tensors for a global pool."""
    kernel = operation.attributes.get("kernel")
    if operation.kind in ("max_pool", "avg_pool") and isinstance(kernel, int | tuple):
        return float(kernel * kernel if isinstance(kernel, int) else math.prod(kernel))
    read = sum(workload.tensors[name].elements for name in operation.inputs if name in workload.tensors)
    return max(1.0, read / operation.elements) if operation.elements else 1.0
