"""The vocabulary of binary repairs: names, branches, and which exclude each other (training.md section 3).

A repair mends what one-bit weights and activations break. Branches as de Putter and Corporaal (2022, arXiv
2206.12322): `training` changes how weights are found and costs nothing at inference; `binarizer` and
`normalization` act on what the sign reads; `topology` adds operators, all of them counted. What each one
does to a Graph stands in `workload/repairs/`, to a training in `quant/repairs/`.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

__all__ = ["REPAIRS", "TAUGHT", "Branch", "Repair", "RepairError", "bases_of", "check_repairs", "repair"]

Branch = Literal["training", "binarizer", "normalization", "topology"]


class RepairError(ValueError):
    """Repairs that do not exist, exclude each other, or have no binary layer to mend."""


@dataclass(frozen=True)
class Repair:
    """One repair. `reads_bits`: it needs activations of one bit too, not only weights.

    `rewrites`: the Graph gets other operators, so the inference has another cost. `alike`: repairs of one
    non-empty text exclude each other.
    """

    name: str
    branch: Branch
    summary: str
    reads_bits: bool = True
    rewrites: bool = False
    alike: str = ""


def _training(name: str, summary: str, alike: str = "") -> Repair:
    return Repair(name, "training", summary, reads_bits=False, alike=alike)


def _topology(name: str, summary: str, alike: str = "") -> Repair:
    return Repair(name, "topology", summary, rewrites=True, alike=alike)


_ALL = (
    _training("grad=approx", "triangular pseudo-gradient of the sign (Bi-Real)", "grad"),
    _training("grad=swish", "SwishSign pseudo-gradient (BNN+)", "grad"),
    _training("grad=eda", "pseudo-gradient that sharpens over the epochs (IR-Net)", "grad"),
    _training("grad=identity", "straight-through gradient, never clipped", "grad"),
    Repair("learned_shift", "binarizer", "sign(x + b), b learned per channel (ReActNet)", rewrites=True),
    Repair("heaviside", "binarizer", "activations 0 and 1 instead of -1 and +1 (larq)"),
    Repair("pre_bn", "normalization", "batch norm before the sign, not behind the conv", rewrites=True),
    _training("weight_norm", "standardize weights before their sign", "weights"),
    _training("weight_center", "subtract the mean of each output channel before the sign", "weights"),
    _training("libra", "standardized weights times a power of two (IR-Net)", "weights"),
    _training("scale_xnor", "times the mean absolute weight of each output channel (XNOR-Net)"),
    _topology("scale_input", "times a map of the mean absolute input (XNOR-Net)", "scale"),
    _topology("scale_xnorpp", "times a learned product of channel, row and column (XNOR-Net++)", "scale"),
    _topology("bn_out", "batch norm on conv results that meet a high-precision add (Bi-Real)"),
    _topology("double_residual", "a shortcut of high precision round every binary conv (Bi-Real)"),
    _topology("prelu", "PReLU behind every binary conv", "activation"),
    _topology("rprelu", "PReLU between two learned shifts (ReActNet)", "activation"),
    _topology("dprelu", "two slopes and two shifts (PokeBNN)", "activation"),
    _topology("se8", "channels weighted by an 8-bit squeeze-excite branch (Real-to-Binary)"),
    _topology("hp_downsample", "shortcuts that change shape: average pool and an INT8 conv 1x1 (Bi-Real)"),
    _training("teacher", "cross-entropy to a teacher's softmax, no labels (ReActNet)"),
    _training("attention_match", "attention maps of a teacher, block by block (Real-to-Binary)"),
    _training("two_stage", "first binary activations alone, then both (ReActNet)"),
    _training("bop", "flips by gradient momentum, no latent weights (Helwegen et al. 2019)", "optimizer"),
    _training("adam", "Adam", "optimizer"),
    _training("sgd", "SGD with momentum", "optimizer"),
    _training("decay", "weight decay on latent weights"),
)

REPAIRS: Mapping[str, Repair] = MappingProxyType({entry.name: entry for entry in _ALL})
"""Every repair with a fixed name, in canonical order. `bases_2`, `bases_3`, ... come after them."""

TAUGHT = ("teacher", "attention_match")
"""Repairs that cannot do without a teacher."""

BASES = re.compile(r"bases_([0-9]{1,6})")
MOST_BASES = 8

CONFLICTS: tuple[tuple[str, str, str], ...] = (
    ("bop", "libra", "bop has no latent weights"),
    ("bop", "weight_norm", "bop has no latent weights"),
    ("bop", "weight_center", "bop has no latent weights"),
    ("bop", "scale_xnor", "bop has no latent weights"),
    ("bop", "two_stage", "bop has no latent weights"),
    ("bop", "decay", "bop has no latent weights"),
    ("libra", "scale_xnor", "libra has a scale of its own"),
    ("two_stage", "decay", "the stages have decays of their own"),
)
"""Pairs that exclude each other, and why; besides those that are `alike`."""

_WHY = {
    "grad": "the sign has one pseudo-gradient",
    "weights": "weights are normalised once",
    "scale": "a conv result is scaled once",
    "activation": "a conv has one activation behind it",
    "optimizer": "a parameter has one optimizer",
    "bases": "a conv has one number of bases",
}


def bases_of(names: Iterable[str]) -> int:
    """How many binary bases each conv has: m of `bases_m`, else 1.

    >>> bases_of(("rprelu", "bases_3"))
    3
    """
    return next((int(match[1]) for name in names if (match := BASES.fullmatch(name))), 1)


def repair(name: str) -> Repair:
    """The repair of that name.

    Raises:
        RepairError: there is none; the nearest is offered and all are listed.

    >>> repair("rprelu").branch, repair("bases_2").rewrites
    ('topology', True)
    """
    if match := BASES.fullmatch(name):
        if not 2 <= int(match[1]) <= MOST_BASES or match[1].startswith("0"):
            raise RepairError(f"repair {name!r}: a conv takes 2 to {MOST_BASES} bases, such as bases_2")
        return _topology(name, "that many binary bases per conv (ABC-Net)", "bases")
    if name not in REPAIRS:
        known = (*REPAIRS, "bases_2")
        near = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
        hint = f", did you mean {near[0]!r}?" if near else ";"
        raise RepairError(
            f"unknown repair {name!r}{hint} repairs: {', '.join((*REPAIRS, 'bases_M (M = 2..8)'))}"
        )
    return REPAIRS[name]


def check_repairs(names: Iterable[str]) -> tuple[str, ...]:
    """`names` in canonical order.

    Raises:
        RepairError: an unknown name, one said twice, or two that exclude each other; both are named.

    >>> check_repairs(["rprelu", "double_residual"])
    ('double_residual', 'rprelu')
    """
    found = [repair(name) for name in names]
    order = {name: index for index, name in enumerate(REPAIRS)}
    found.sort(key=lambda entry: order.get(entry.name, len(order)))
    for left, right in itertools.combinations(found, 2):
        if left.name == right.name:
            raise RepairError(f"repair {left.name!r} stands twice; keep one")
        if left.alike and left.alike == right.alike:
            raise RepairError(
                f"repairs {left.name!r} and {right.name!r} exclude each other: {_WHY[left.alike]}"
            )
        for one, other, why in CONFLICTS:
            if {one, other} == {left.name, right.name}:
                raise RepairError(f"repairs {one!r} and {other!r} exclude each other: {why}")
    return tuple(entry.name for entry in found)
