"""The Scheme: which Format the tensors of a network have. It prints its name; `parse.py` reads it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from bitjoule.formats import TensorFormat, parse_tensor_format
from bitjoule.scheme.base_name import base_name
from bitjoule.scheme.precision import Precision
from bitjoule.scheme.repairs import repair

__all__ = ["DEFAULT_HIGH_BITS", "GraphMode", "Override", "Scheme", "usual_options"]

GraphMode = Literal["SP", "HPR"]
DEFAULT_HIGH_BITS = 16
EDGE_LAYER_BITS = 8


@dataclass(frozen=True)
class Override:
    """Layers whose names match `pattern` (shell wildcards) have `precision` of their own."""

    pattern: str
    precision: Precision

    def __str__(self) -> str:
        return f"{self.pattern}:{self.precision}"


@dataclass(frozen=True)
class Scheme:
    """Formats for a whole network. Build it with `parse_scheme`; `str` prints the canonical name.

    `first`, `last`, `downsample`, `depthwise`: bits that those layers have at least, or None for the
    scheme's own. `repairs` are names of binary repairs, in canonical order. `prune`: (N, M), at most N of
    every M weights along the input channels are not zero; `workload/sparsity.py` says in which layers.

    >>> scheme = parse_scheme("w8a8")
    >>> str(scheme), str(parse_scheme("hpr16-w4a4[first=8]"))
    ('int8', 'hpr-w4a4')
    """

    precision: Precision
    mode: GraphMode = "SP"
    high_bits: int = DEFAULT_HIGH_BITS
    first: int | None = None
    last: int | None = None
    downsample: int | None = None
    depthwise: int | None = None
    preadd: Literal["acc", "b", "h"] = "acc"
    overrides: tuple[Override, ...] = field(default=())
    repairs: tuple[str, ...] = ()
    prune: tuple[int, int] | None = None

    @cached_property
    def name(self) -> str:
        """The canonical name; parsing it gives an equal Scheme."""
        prefix = ""
        if self.mode == "HPR":
            prefix = "hpr-" if self.high_bits == DEFAULT_HIGH_BITS else f"hpr{self.high_bits}-"
        usual = usual_options(self.precision, self.mode)
        options = [
            f"{key}={'same' if value is None else value}"
            for key, value in (
                ("first", self.first),
                ("last", self.last),
                ("downsample", self.downsample),
                ("depthwise", self.depthwise),
                ("preadd", self.preadd),
            )
            if value != usual[key]
        ]
        if self.prune is not None:
            options.append("prune={}:{}".format(*self.prune))
        text = prefix + "+".join((base_name(self.precision), *self.repairs))
        if options:
            text += f"[{','.join(options)}]"
        if self.overrides:
            text += "{" + ",".join(map(str, self.overrides)) + "}"
        return text

    def __str__(self) -> str:
        return self.name

    @property
    def family(self) -> str:
        """What iso-accuracy comparisons group by: the name."""
        return self.name

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the canonical name, the same in every process."""
        return hashlib.sha256(f"bitjoule:scheme:1\n{self.name}".encode()).hexdigest()

    def to_json(self) -> str:
        """The canonical name is the JSON form."""
        return self.name

    @property
    def is_float32(self) -> bool:
        """True when nothing is quantized."""
        return self.precision == Precision("FLOAT32", "FLOAT32")

    @property
    def weights(self) -> TensorFormat:
        """Weight format of a layer without a rule of its own."""
        return self.precision.weight_format()

    def activation(self, *, signed: bool) -> TensorFormat:
        """Activation format of a layer without a rule of its own."""
        return self.precision.activation_format(signed=signed)

    def high(self) -> TensorFormat:
        """Format of residual tensors in HPR: signed, `high_bits` wide."""
        return parse_tensor_format(f"INT{self.high_bits}")

    @property
    def topology_repairs(self) -> tuple[str, ...]:
        """The repairs that change the Graph; the others change the training or a Format."""
        return tuple(name for name in self.repairs if repair(name).rewrites)

    @property
    def hpr_is_sp(self) -> bool:
        """True for an HPR scheme whose activations already have `high_bits` or more (or are float)."""
        return self.mode == "HPR" and (
            self.precision.is_float or self.precision.activation_bits >= self.high_bits
        )


def usual_options(precision: Precision, mode: GraphMode) -> dict[str, int | str | None]:
    """What the options are when a name does not say: training.md section 2, first and last layer."""
    usual: dict[str, int | str | None] = dict.fromkeys(("first", "last", "downsample", "depthwise"))
    usual["preadd"] = "h" if mode == "HPR" else "acc"
    narrowest = min(precision.weight_bits, precision.activation_bits)
    if precision.weight.startswith("MOONS") or (precision.is_float and narrowest >= EDGE_LAYER_BITS):
        return usual
    usual["first"] = usual["last"] = EDGE_LAYER_BITS
    if precision.weight_bits == 1:
        usual["downsample"] = EDGE_LAYER_BITS
    return usual
