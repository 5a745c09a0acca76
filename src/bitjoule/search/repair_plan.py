"""The plan of the repairs study: which repairs are tried how, at which size, on which data.

Arms of the isolation study (training.md section 3): the baseline, the baseline with one repair, all repairs
of `together` and all of them but one, and the references of more bits. Greedy selection adds arms as it
goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from bitjoule.scheme import parse_scheme
from bitjoule.scheme.repairs import RepairError, check_repairs
from bitjoule.search.claims import Size
from bitjoule.search.study_faults import faults_of
from bitjoule.search.study_yaml import StudyFileError, YamlText

__all__ = [
    "Arm",
    "ArmKind",
    "RepairPlan",
    "SizePlan",
    "compatible",
    "isolation_arms",
    "read_plan",
    "repaired_name",
    "study_text",
]

ArmKind = Literal["baseline", "one", "together", "without", "greedy", "reference"]


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Texts = Annotated[tuple[str, ...], BeforeValidator(_tuple)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Greedy(_Section):
    """Forward selection: so many repairs are added, so many are tried for each."""

    steps: Annotated[int, Field(ge=0)]
    candidates: Annotated[int, Field(ge=1)]


class Training(_Section):
    """What is trained: sections of a study file (search.md section 5)."""

    network: dict[str, Any]
    width: Annotated[float, Field(gt=0)]
    data: dict[str, Any]
    budget: dict[str, Any]
    parent: dict[str, Any]


class SizePlan(_Section):
    """One size. `limit_s`: seconds that it should take (two idle cores, or one GPU), None for no limit."""

    limit_s: float | None
    seeds: Annotated[int, Field(ge=1)]
    greedy: Greedy
    default: str
    data: dict[str, Training]

    @model_validator(mode="after")
    def _default_is_there(self) -> SizePlan:
        if self.default not in self.data:
            raise ValueError(f"default {self.default!r} is none of its data: {', '.join(self.data)}")
        return self

    def training(self, data: str | None) -> Training:
        """What is trained on these data (default: the size's own).

        Raises:
            ValueError: data that this size has no training for.
        """
        name = data or self.default
        if name not in self.data:
            raise ValueError(f"no data {name!r} at this size; data: {', '.join(self.data)}")
        return self.data[name]


class Energies(_Section):
    """What is priced without training: a network of the zoo under `schemes`, and the baseline with the
    repairs of `topology` one after another."""

    network: str
    topology: Texts
    schemes: Texts


class RepairPlan(_Section):
    """`study.yaml` of a study of kind repairs."""

    bitjoule: Literal[1]
    id: str
    name: str
    kind: Literal["repairs"]
    question: str
    sources: Texts
    baseline: str
    hardware: str
    categories: dict[str, Texts]
    together: Texts
    references: Texts
    beneficial: Annotated[Texts, Field(min_length=1)]
    energies: Energies
    sizes: dict[Size, SizePlan]

    @model_validator(mode="after")
    def _names_are_known(self) -> RepairPlan:
        base = parse_scheme(self.baseline)
        if base.repairs:
            raise ValueError(f"baseline {self.baseline!r} has repairs already; name a scheme without")
        for name in self.repairs:
            parse_scheme(repaired_name(self.baseline, [name]))
        parse_scheme(repaired_name(self.baseline, self.together))
        parse_scheme(repaired_name(self.baseline, self.energies.topology))
        for scheme in (*self.references, *self.energies.schemes):
            parse_scheme(scheme)
        if unknown := [name for name in self.beneficial if name not in self.categories]:
            raise ValueError(f"beneficial names {unknown[0]!r}, which is none of categories")
        return self

    @property
    def repairs(self) -> tuple[str, ...]:
        """Every repair that is tried alone, by category."""
        return tuple(name for names in self.categories.values() for name in names)

    def category_of(self, name: str) -> str:
        """The category that a repair stands in."""
        return next(category for category, names in self.categories.items() if name in names)

    def size(self, name: Size) -> SizePlan:
        """The plan of a size; ValueError names those that there are."""
        if name not in self.sizes:
            raise ValueError(f"study {self.id} has no size {name!r}; sizes: {', '.join(self.sizes)}")
        return self.sizes[name]


@dataclass(frozen=True)
class Arm:
    """One thing that is trained. `subject`: the repair that is added, or left out; "" for none."""

    kind: ArmKind
    scheme: str
    subject: str = ""

    @property
    def label(self) -> str:
        """For tables: `+ rprelu`, `all - rprelu`."""
        named = {"one": f"+ {self.subject}", "without": f"all - {self.subject}", "together": "all"}
        return named.get(self.kind, self.kind if self.kind == "baseline" else self.scheme)


def read_plan(text: str, name: str) -> RepairPlan:
    """The plan of a study file of kind repairs.

    Raises:
        StudyFileError: every fault, with line and key path.
    """
    document = YamlText(name, text)
    try:
        return RepairPlan.model_validate(document.data)
    except ValidationError as error:
        raise StudyFileError(faults_of(error, document, RepairPlan)) from None


def repaired_name(baseline: str, repairs: Iterable[str]) -> str:
    """Canonical name of the baseline with these repairs.

    >>> repaired_name("hpr-w1a1", ["rprelu", "double_residual"])
    'hpr-w1a1+double_residual+rprelu'
    """
    return parse_scheme("+".join((baseline, *repairs))).name


def isolation_arms(plan: RepairPlan) -> tuple[Arm, ...]:
    """Baseline, one repair each, all, all but one, references; in this order."""
    every = plan.together
    return (
        Arm("baseline", repaired_name(plan.baseline, ())),
        *(Arm("one", repaired_name(plan.baseline, [name]), name) for name in plan.repairs),
        Arm("together", repaired_name(plan.baseline, every)),
        *(
            Arm("without", repaired_name(plan.baseline, [other for other in every if other != name]), name)
            for name in every
        ),
        *(Arm("reference", parse_scheme(scheme).name) for scheme in plan.references),
    )


def compatible(chosen: Sequence[str], name: str) -> bool:
    """May `name` join the chosen repairs? Not twice, and no two that exclude each other."""
    try:
        check_repairs([*chosen, name])
    except RepairError:
        return False
    return True


def study_text(
    plan: RepairPlan, size: Size, data: str | None, schemes: Sequence[str], *, workers: int, seeds_front: int
) -> str:
    """The study file (search.md section 5) that trains these schemes. JSON, which is YAML."""
    chosen = plan.size(size)
    training = chosen.training(data)
    document = {
        "bitjoule": 1,
        "name": f"{plan.name}-{size}-{data or chosen.default}",
        "network": training.network,
        "space": {
            "kind": "grid",
            "widths": [training.width],
            "schemes": list(schemes),
            "graph_modes": ["SP"],
        },
        "data": training.data,
        "accuracy": {
            "evaluator": "qat",
            "init": "scratch",
            "budget": training.budget,
            "parent": training.parent,
            "seeds_search": chosen.seeds,
            "seeds_front": seeds_front,
        },
        "hardware": [plan.hardware],
        "method": {"kind": "grid"},
        "seed": 0,
        "executor": {"kind": "processes", "workers": workers},
        "limits": {"max_failures": 1.0},
    }
    return json.dumps(document, indent=1) + "\n"
