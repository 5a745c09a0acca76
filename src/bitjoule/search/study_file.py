"""The study file: what one YAML may say (spec/search.md section 5), all faults reported at once.

Sections: network, space, data, accuracy, hardware, objective, method, executor, limits, reference. Extra keys
are refused, and so is every dotted import path: Python modules come in through the API only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from bitjoule.scheme import TAUGHT, parse_scheme
from bitjoule.search.grid import DEFAULT_MAX_TRIALS
from bitjoule.search.space import (
    DEPTHS,
    FILTERS,
    HIGH_BITS,
    WIDTHS,
    Fixed,
    Space,
    grid_space,
    topology_space,
)
from bitjoule.search.study_faults import faults_of, nearest_of
from bitjoule.search.study_yaml import StudyFileError, YamlText, read_yaml
from bitjoule.search.trial import Budget

__all__ = ["Recipe", "StudyFile", "parse_study_file", "read_study_file"]

DATA_KINDS = Literal["digits", "cifar10", "cifar100", "mnist", "svhn", "parquet", "imagefolder"]
DEFAULT_EPOCHS = {"short_qat": 5.0, "qat": 100.0, "table": 1.0}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _scheme(text: str) -> str:
    return parse_scheme(text).name


def _bits(value: object) -> object:
    """`INT8` or 8: the width in bits of a fixed layer."""
    named = re.fullmatch(r"INT([0-9]+)", value) if isinstance(value, str) else None
    bits = int(named[1]) if named else value
    if isinstance(bits, bool) or not isinstance(bits, int) or not 1 <= bits <= 16:
        raise ValueError(f"must be INT1 to INT16, such as INT8, not {value!r}")
    return bits


def _plain_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise ValueError(f"must be letters, digits, '.', '_' and '-', not {text!r}")
    return text


def _each_once(values: tuple[object, ...]) -> tuple[object, ...]:
    twice = [value for index, value in enumerate(values) if value in values[:index]]
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice; keep one")
    return values


def _no_module(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", text):
        raise ValueError(f"must be the name of a network of the zoo such as mobilenet_v2, not {text!r}")
    return text


Bits = Annotated[int, BeforeValidator(_bits)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
SchemeName = Annotated[str, AfterValidator(_scheme)]
Schemes = Annotated[
    tuple[SchemeName, ...], BeforeValidator(_tuple), AfterValidator(_each_once), Field(min_length=1)
]
Counts = Annotated[
    tuple[Count, ...], BeforeValidator(_tuple), AfterValidator(_each_once), Field(min_length=1)
]
Widths = Annotated[
    tuple[Positive, ...], BeforeValidator(_tuple), AfterValidator(_each_once), Field(min_length=1)
]
Modes = Annotated[
    tuple[Literal["SP", "HPR"], ...], BeforeValidator(_tuple), AfterValidator(_each_once), Field(min_length=1)
]
Option = int | float | str | list[int]


class Network(_Section):
    """`zoo` and its options, or an `onnx` file (relative to the study file)."""

    zoo: Annotated[str, AfterValidator(_no_module)] | None = None
    onnx: str | None = None
    classes: Count = 10
    resolution: Count | None = None
    in_channels: Count | None = None
    options: dict[str, Option] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_source(self) -> Network:
        if (self.zoo is None) == (self.onnx is None):
            raise ValueError("give either zoo: NAME or onnx: FILE")
        return self

    @property
    def name(self) -> str:
        """What candidates call the network."""
        return self.zoo or Path(self.onnx or "").stem


class FixedLayers(_Section):
    """Layers whose precision no gene decides; a scheme's own rule where a key is left out."""

    first: Bits | None = None
    last: Bits | None = None
    layers: dict[str, Bits] = Field(default_factory=dict)

    def rules(self) -> Fixed:
        """The same as the space takes it."""
        return Fixed(self.first, self.last, tuple(self.layers.items()))


class GridSection(_Section):
    """`kind: grid`: width times scheme times graph mode."""

    kind: Literal["grid"]
    widths: Widths = WIDTHS
    schemes: Schemes = ("fp16", "int8", "w4a4", "w2a2")
    graph_modes: Modes = ("SP", "HPR")
    hpr_bits: Annotated[int, Field(ge=2, le=16)] = HIGH_BITS
    fixed: FixedLayers = FixedLayers()

    def space(self, network: str) -> Space:
        """The candidates."""
        return grid_space(
            network,
            widths=self.widths,
            schemes=self.schemes,
            graph_modes=self.graph_modes,
            hpr_bits=self.hpr_bits,
            fixed=self.fixed.rules(),
        )


class TopologySection(_Section):
    """`kind: topology`: depths and filters per block, times scheme."""

    kind: Literal["topology"]
    schemes: Schemes
    depths: Counts = DEPTHS
    filters: Counts = FILTERS
    blocks: Annotated[int, Field(ge=1, le=26)] = 3
    monotone: bool = True
    shared: bool = False
    fixed: FixedLayers = FixedLayers()

    def space(self, network: str) -> Space:
        """The candidates."""
        return topology_space(
            network,
            depths=self.depths,
            filters=self.filters,
            schemes=self.schemes,
            blocks=self.blocks,
            monotone=self.monotone,
            shared=self.shared,
            fixed=self.fixed.rules(),
        )


class Data(_Section):
    """The images. `root` is relative to the study file; digits are embedded and take none."""

    kind: DATA_KINDS
    root: str | None = None
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    augment: Literal["none", "crop-flip", "crop", "flip", "shift"] = "none"
    preprocessing: str = "signed"

    @model_validator(mode="after")
    def _root(self) -> Data:
        if self.kind == "digits" and self.root is not None:
            raise ValueError("digits are embedded and take no root; leave it out")
        if self.kind != "digits" and self.root is None:
            raise ValueError(f"{self.kind} needs root: the folder that holds its files")
        return self


class Recipe(_Section):
    """A training budget; None leaves the choice to the evaluator."""

    epochs: Positive
    batch: Count | None = None
    lr: Positive | None = None
    schedule: Literal["cosine", "linear", "step", "constant", "moons2017"] | None = None
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    optimizer: Literal["sgd", "adam"] | None = None
    train_images: Count | None = None
    val_images: Count | None = None

    @property
    def budget(self) -> Budget:
        """What the content key counts as budget; the rest is the evaluator's fingerprint."""
        return Budget(self.epochs, self.train_images, self.val_images)


class Accuracy(_Section):
    """Which evaluator, with which budget. `table`: the CSV of evaluator table, relative to the study file.

    `parent` is the budget of the float32 network of each topology: candidates start from it (`init: parent`),
    or it only teaches those whose scheme needs a teacher (`init: scratch`).
    """

    evaluator: Literal["short_qat", "qat", "table"]
    init: Literal["parent", "scratch"] = "parent"
    budget: Recipe
    parent: Recipe | None = None
    table: str | None = None
    seeds_search: Count = 1
    seeds_front: Annotated[int, Field(ge=0)] = 3

    @model_validator(mode="before")
    @classmethod
    def _defaults(cls, value: object) -> object:
        """Epochs by evaluator; a table has no parents."""
        if not isinstance(value, Mapping):
            return value
        evaluator = value.get("evaluator")
        filled = dict(value)
        if evaluator == "table":
            filled.setdefault("init", "scratch")
        if isinstance(evaluator, str) and evaluator in DEFAULT_EPOCHS:
            filled.setdefault("budget", {"epochs": DEFAULT_EPOCHS[evaluator]})
        return filled

    @model_validator(mode="after")
    def _fits(self) -> Accuracy:
        if (self.evaluator == "table") != (self.table is not None):
            raise ValueError("table: FILE.csv goes with evaluator: table, and only with it")
        if self.evaluator == "table" and self.init == "parent":
            raise ValueError("evaluator table trains nothing: init must be scratch or left out")
        if self.evaluator == "short_qat" and self.init == "scratch":
            raise ValueError("evaluator short_qat starts from a parent: use evaluator qat for init: scratch")
        if self.init == "parent" and self.parent is None:
            raise ValueError(
                "init: parent needs parent: {epochs: ...}, the budget of the float32 parent of each topology"
            )
        if self.evaluator == "table" and self.parent is not None:
            raise ValueError("evaluator table trains nothing: leave parent out")
        return self


class HardwareFile(_Section):
    """A hardware description beside the study file."""

    file: str


class Method(_Section):
    """How the space is searched."""

    kind: Literal["grid", "poq"]


class ExecutorSection(_Section):
    """Where trials run."""

    kind: Literal["in_process", "processes"] = "processes"
    workers: Count = 1
    timeout_s: Positive | None = None


class Limits(_Section):
    """When to refuse or to stop."""

    max_trials: Count = DEFAULT_MAX_TRIALS
    max_failures: Annotated[float, Field(ge=0, le=1)] = 0.25


class Reference(_Section):
    """Reference point of the hypervolume; auto: greatest energy of the space, 1 / classes."""

    energy_pj: Positive | Literal["auto"] = "auto"
    accuracy: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = "auto"


def _hardware(value: object) -> object:
    """A preset's name, or {file: chip.yaml}; told apart here so that a fault names one of them."""
    if not isinstance(value, str | Mapping):
        raise ValueError(f"must be a preset's name or {{file: chip.yaml}}, not {value!r}")
    return value


HardwareEntry = Annotated[str | HardwareFile, BeforeValidator(_hardware)]


class StudyFile(_Section):
    """A validated study file. Relative paths in it are relative to `directory`."""

    bitjoule: Literal[1]
    name: Annotated[str, AfterValidator(_plain_name)]
    network: Network
    space: Annotated[GridSection | TopologySection, Field(discriminator="kind")]
    data: Data
    accuracy: Accuracy
    hardware: Annotated[
        tuple[HardwareEntry, ...], BeforeValidator(_tuple), AfterValidator(_each_once), Field(min_length=1)
    ]
    objective: Literal["energy"] = "energy"
    method: Method
    seed: Annotated[int, Field(ge=0)] = 0
    executor: ExecutorSection = ExecutorSection()
    limits: Limits = Limits()
    reference: Reference = Reference()

    @model_validator(mode="after")
    def _taught(self) -> StudyFile:
        if self.accuracy.evaluator != "table" and self.accuracy.parent is None:
            for scheme in self.space.schemes:
                names = [name for name in parse_scheme(scheme).repairs if name in TAUGHT]
                if names:
                    raise ValueError(
                        f"scheme {scheme} has {' and '.join(names)} and there is no teacher; give "
                        "accuracy.parent: {epochs: ...}, the budget of the float32 network that teaches"
                    )
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> StudyFile:
        names = self.hardware_names()
        twice = [name for index, name in enumerate(names) if name in names[:index]]
        if twice:
            raise ValueError(f"two hardware are called {twice[0]!r}; rename one of the files")
        return self

    _directory: Path = PrivateAttr(default=Path())

    @property
    def directory(self) -> Path:
        """Folder that relative paths start from."""
        return self._directory

    def path(self, text: str) -> Path:
        """A path of this file, absolute."""
        return (self._directory / text).resolve()

    def hardware_sources(self) -> tuple[str, ...]:
        """Preset names and absolute paths, in order."""
        return tuple(h if isinstance(h, str) else str(self.path(h.file)) for h in self.hardware)

    def hardware_names(self) -> tuple[str, ...]:
        """What trials call the hardware: a preset's name, a file's stem."""
        return tuple(h if isinstance(h, str) else Path(h.file).stem for h in self.hardware)

    def candidates(self) -> Space:
        """The space of the study."""
        return self.space.space(self.network.name)

    def seeds(self, count: int) -> tuple[int, ...]:
        """Seed numbers every candidate shares: common random numbers."""
        return tuple(self.seed + index for index in range(count))

    def parent_file(self) -> StudyFile:
        """The same study as seen by its float32 parents: trained from scratch with the parents' budget."""
        if self.accuracy.parent is None:
            raise ValueError(f"study {self.name!r} has no parents: accuracy.init is {self.accuracy.init}")
        parent = self.accuracy.model_copy(
            update={"evaluator": "qat", "init": "scratch", "budget": self.accuracy.parent, "parent": None}
        )
        return self.model_copy(update={"accuracy": parent})


def parse_study_file(text: YamlText, directory: Path, hardware: Sequence[str] | None = None) -> StudyFile:
    """The StudyFile of a document.

    Args:
        text: the document with its lines.
        directory: folder that relative paths start from.
        hardware: names of presets to check against; None leaves them unchecked.

    Raises:
        StudyFileError: every fault, with file, line and key path.
    """
    if not isinstance(text.data, dict):
        found = "nothing" if text.data is None else f"a {type(text.data).__name__}"
        raise StudyFileError([text.fault((), f"a study file holds keys and values, not {found}")])
    faults: list[str] = []
    file: StudyFile | None = None
    try:
        file = StudyFile.model_validate(text.data)
    except ValidationError as error:
        faults = faults_of(error, text, StudyFile)
    if hardware is not None:
        faults += _unknown_hardware(text, hardware)
    if faults or file is None:
        raise StudyFileError(sorted(faults, key=_line_of))
    file._directory = directory.resolve()
    return file


def read_study_file(path: Path, hardware: Sequence[str] | None = None) -> StudyFile:
    """The StudyFile at `path`; `StudyFileError` with every fault otherwise."""
    return parse_study_file(read_yaml(path), path.parent, hardware)


def _unknown_hardware(text: YamlText, known: Sequence[str]) -> list[str]:
    entries = text.data.get("hardware") if isinstance(text.data, dict) else None
    return [
        text.fault(("hardware", index), nearest_of("hardware", entry, known))
        for index, entry in enumerate(entries if isinstance(entries, list) else [])
        if isinstance(entry, str) and entry not in known
    ]


def _line_of(fault: str) -> int:
    return int(fault.split(":")[1])
