"""What others say and what came out: claims of a study, checked against named facts.

A claim names the quantities it speaks of; a study gives them as facts: a number, a series, or points
(energy_pj, accuracy). Kinds are a fixed set (spec/studies.md section 0), no expressions:

| kind | params | holds when |
|---|---|---|
| exact | quantity, value, tolerance (relative, default 0) | abs(ours - value) <= tolerance * abs(value) |
| band | quantity, low, high | low <= ours <= high |
| ordering | chain of quantities, margin (default 0) | each exceeds the next by more than margin |
| dominates | a, b: points | some point of a dominates some point of b |
| on_front | family, front: points | some point of family is on the front of both |
| trend | series, direction rising or falling | strictly monotone, at least two values |
| report | quantity | never judged |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, model_validator

from bitjoule.search.pareto import dominates, front
from bitjoule.search.study_faults import faults_of
from bitjoule.search.study_yaml import StudyFileError, YamlText

__all__ = [
    "SIZES",
    "Checked",
    "Claim",
    "Fact",
    "Size",
    "Verdict",
    "check_claim",
    "failed_claims",
    "read_claims",
]

Size = Literal["minutes", "hour", "paper"]
SIZES: tuple[Size, ...] = get_args(Size)
Kind = Literal["exact", "band", "ordering", "dominates", "on_front", "trend", "report"]
Verdict = Literal["in band", "ordering holds", "differs", "reported", "not checkable here"]
Fact = float | Sequence[float] | Sequence[tuple[float, float]]
"""A number, a series, or points (energy in pJ, accuracy as a fraction)."""

PARAMS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "exact": (frozenset({"quantity", "value"}), frozenset({"tolerance"})),
    "band": (frozenset({"quantity", "low", "high"}), frozenset()),
    "ordering": (frozenset({"chain"}), frozenset({"margin"})),
    "dominates": (frozenset({"a", "b"}), frozenset()),
    "on_front": (frozenset({"family", "front"}), frozenset()),
    "trend": (frozenset({"series", "direction"}), frozenset()),
    "report": (frozenset({"quantity"}), frozenset()),
}
"""Kind -> (keys it needs, keys it may have)."""


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Value = str | float | Annotated[tuple[str, ...], BeforeValidator(_tuple)]


class Claim(BaseModel):
    """One claim. `checkable`: the smallest size at which a verdict means something; `why` where that is not
    the smallest of all."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    text: str
    source: str
    mark: Literal["published", "recalled", "measured", "derived", "assumed"]
    kind: Kind
    params: dict[str, Value]
    printed: str
    checkable: Literal["minutes", "hour", "paper", "no"]
    why: str = ""

    @model_validator(mode="after")
    def _params_fit(self) -> Claim:
        needed, more = PARAMS[self.kind]
        given = set(self.params)
        if not needed <= given <= needed | more:
            raise ValueError(
                f"a claim of kind {self.kind} takes params {', '.join(sorted(needed | more))}, "
                f"not {', '.join(sorted(given)) or 'none'}"
            )
        if self.checkable != "minutes" and not self.why:
            raise ValueError(f"says it is checkable at {self.checkable}: why: must say why not before")
        return self

    def checkable_at(self, size: Size) -> bool:
        """Does a verdict at `size` mean something?"""
        return self.checkable != "no" and SIZES.index(self.checkable) <= SIZES.index(size)


class _Claims(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    bitjoule: Literal[1]
    claims: list[Claim]


@dataclass(frozen=True)
class Checked:
    """A claim with our value as text; `note` says why there is no verdict."""

    claim: Claim
    ours: str
    verdict: Verdict
    note: str = ""

    def to_json(self) -> dict[str, str]:
        """The row of a report: claim, source, printed, ours, verdict."""
        verdict = f"{self.verdict}: {self.note}" if self.note else self.verdict
        return {
            "claim": f"{self.claim.id} {self.claim.text}",
            "source": f"{self.claim.source} [{self.claim.mark}]",
            "printed": self.claim.printed,
            "ours": self.ours,
            "verdict": verdict,
        }


def read_claims(text: str, name: str) -> tuple[Claim, ...]:
    """The claims of a claims file.

    Raises:
        StudyFileError: every fault, with line and key path.
    """
    document = YamlText(name, text)
    try:
        found = _Claims.model_validate(document.data).claims
    except ValidationError as error:
        raise StudyFileError(faults_of(error, document, _Claims)) from None
    names = [claim.id for claim in found]
    if twice := [entry for index, entry in enumerate(names) if entry in names[:index]]:
        raise StudyFileError([document.fault(("claims",), f"two claims are called {twice[0]!r}")])
    return tuple(found)


def check_claim(claim: Claim, facts: Mapping[str, Fact], size: Size) -> Checked:
    """`claim` against `facts`. A claim whose facts are missing, or above this size, gets no verdict.

    >>> claim = Claim(id="A", text="t", source="s", mark="derived", kind="band", printed="1",
    ...               params={"quantity": "x", "low": 0.5, "high": 2.0}, checkable="minutes")
    >>> check_claim(claim, {"x": 1.5}, "minutes").verdict, check_claim(claim, {"x": 3.0}, "minutes").verdict
    ('in band', 'differs')
    """
    missing = [name for name in _names(claim) if name not in facts]
    if missing:
        why = claim.why if not claim.checkable_at(size) else f"this run has no {', '.join(missing)}"
        return Checked(claim, "-", "not checkable here", why)
    ours, holds = _judged(claim, facts)
    if not claim.checkable_at(size):
        return Checked(claim, ours, "not checkable here", claim.why)
    if holds is None:
        return Checked(claim, ours, "reported")
    if not holds:
        return Checked(claim, ours, "differs")
    return Checked(claim, ours, "in band" if claim.kind in ("exact", "band") else "ordering holds")


def failed_claims(checked: Sequence[Checked]) -> tuple[Checked, ...]:
    """Those that differ: a study with one of them has not reproduced what it set out to."""
    return tuple(entry for entry in checked if entry.verdict == "differs")


def _names(claim: Claim) -> list[str]:
    params = claim.params
    keys = ("quantity", "series", "a", "b", "family", "front")
    single = [str(params[key]) for key in keys if key in params]
    chain = params.get("chain", ())
    return [*single, *(chain if isinstance(chain, tuple) else (str(chain),))]


def _judged(claim: Claim, facts: Mapping[str, Fact]) -> tuple[str, bool | None]:
    """(our value as text, does the claim hold; None for a report)."""
    params = claim.params
    match claim.kind:
        case "report":
            return _number(_scalar(facts, params["quantity"])), None
        case "exact":
            ours, value = _scalar(facts, params["quantity"]), _float(params["value"])
            return _number(ours), abs(ours - value) <= _float(params.get("tolerance", 0.0)) * abs(value)
        case "band":
            ours = _scalar(facts, params["quantity"])
            return _number(ours), _float(params["low"]) <= ours <= _float(params["high"])
        case "ordering":
            values = [_scalar(facts, name) for name in _names(claim)]
            margin = _float(params.get("margin", 0.0))
            return " > ".join(map(_number, values)), all(a - b > margin for a, b in pairwise(values))
        case "trend":
            series = [float(value) for value in _sequence(facts, params["series"])]  # type: ignore[arg-type]
            turned = series if params["direction"] == "rising" else series[::-1]
            holds = len(series) > 1 and all(a < b for a, b in pairwise(turned))
            return ", ".join(map(_number, series)) or "no values", holds
        case "dominates":
            a, b = (_points(facts, params[key]) for key in ("a", "b"))
            pairs = sum(dominates(p, q) for p in a for q in b)
            return f"{pairs} of {len(a) * len(b)} pairs", pairs > 0
        case "on_front":
            family, others = (_points(facts, params[key]) for key in ("family", "front"))
            points = [*family, *others]
            kept = sum(index < len(family) for index in front(points))
            return f"{kept} of {len(family)} points", kept > 0


def _scalar(facts: Mapping[str, Fact], name: Value) -> float:
    value = facts[str(name)]
    if not isinstance(value, int | float):
        raise TypeError(f"fact {name!r} is a series; claims of this kind speak of a number")
    return float(value)


def _sequence(facts: Mapping[str, Fact], name: Value) -> Sequence[object]:
    value = facts[str(name)]
    if isinstance(value, int | float):
        raise TypeError(f"fact {name!r} is a number; claims of this kind speak of a series")
    return value


def _points(facts: Mapping[str, Fact], name: Value) -> list[tuple[float, float]]:
    points = []
    for point in _sequence(facts, name):
        if not isinstance(point, tuple):
            raise TypeError(f"fact {name!r} holds {point!r}; claims of this kind speak of points")
        points.append((float(point[0]), float(point[1])))
    return points


def _float(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"a number of a claim is {value!r}")
    return float(value)


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
