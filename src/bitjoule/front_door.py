"""Where the rooms that load torch meet those that do not: a study that can train, and report.

`search/` asks for accuracies and graphs by Protocol, `train/` and `network/` offer them by structure;
`StudyJoin` hands the one to the other.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitjoule import __version__
from bitjoule.search import study
from bitjoule.search.space import Candidate
from bitjoule.search.study_file import StudyFile
from bitjoule.search.study_yaml import YamlText
from bitjoule.search.trial import CostFunction, EvaluatorSpec, Json

if TYPE_CHECKING:
    from bitjoule.hardware import Hardware
    from bitjoule.mapping.evaluate import Mode
    from bitjoule.mapping.search import MappingResult, Objective
    from bitjoule.mapping.space import SpaceOptions
    from bitjoule.workload import Graph, Layer
    from bitjoule.zoo import Dataset

__all__ = [
    "DATA_VARIABLE",
    "DEFAULT_DATA",
    "GRAPH_VERSION",
    "Study",
    "StudyJoin",
    "best_mapping",
    "fitted_options",
]

DATA_VARIABLE = "BITJOULE_DATA"
DEFAULT_DATA = "../shared/data"
GRAPH_VERSION = 1
"""Raised when the same network is captured as another graph: graphs stored before are not used then."""
VARIABLE = re.compile(r"\$(?:\{(?P<braced>\w+)\}|(?P<plain>\w+))")


class Study(study.Study):
    """A study whose accuracies are trained by `train/`, and which writes its report.

    study = Study.open("poq.study", config="poq.yaml"); study.run(workers=2); study.report("poq.html")
    """

    def __init__(
        self,
        path: Path,
        file: StudyFile,
        text: YamlText,
        *,
        join: study.Join | None = None,
        cost_function: CostFunction | None = None,
        fresh: bool = False,
    ) -> None:
        super().__init__(
            path, file, text, join=join or StudyJoin(file), cost_function=cost_function, fresh=fresh
        )

    def report(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the report (default: report.html in the study) and return its path."""
        from bitjoule.report import write_report

        return write_report(self.report_data(), Path(path) if path is not None else self.path / "report.html")


def best_mapping(
    layer: Layer,
    hardware: Hardware | str | Path,
    *,
    mode: Mode = "physical",
    objective: Objective = "energy",
    latency_cap_cycles: int | None = None,
    space: SpaceOptions | None = None,
    time_limit_s: float | None = None,
    workers: int = 1,
) -> MappingResult:
    """`mapping.search.best_mapping` for a hardware, a preset's name or a file; refuses what is no input.

    Raises:
        InfeasibleMapping: nothing fits; says which level lacks how many bits, and what would mend it.
        TypeError: something else than a Layer or a hardware.
        ValueError: hardware of another kind, or options that it cannot satisfy.
    """
    from bitjoule.hardware import Hardware, load
    from bitjoule.mapping.search import best_mapping as search
    from bitjoule.workload import Layer

    if not isinstance(layer, Layer):
        raise TypeError(
            f"best_mapping takes a Layer, not {type(layer).__name__}; take one of a workload: "
            "bitjoule.workload.workload_of(net.graph, scheme).layer(name)"
        )
    if not isinstance(hardware, Hardware | str | Path):
        raise TypeError(
            f"hardware is a preset's name, a path or bj.hardware(...), not {type(hardware).__name__}"
        )
    if time_limit_s is not None and not time_limit_s >= 0:
        raise ValueError(f"time_limit_s must be >= 0 seconds, not {time_limit_s}")
    if latency_cap_cycles is not None and not (
        isinstance(latency_cap_cycles, int) and latency_cap_cycles >= 1
    ):
        raise ValueError(f"latency_cap_cycles must be a whole number >= 1, not {latency_cap_cycles!r}")
    return search(
        layer,
        hardware if isinstance(hardware, Hardware) else load(hardware),
        mode=mode,
        objective=objective,
        latency_cap_cycles=latency_cap_cycles,
        space=space,
        time_limit_s=time_limit_s,
        workers=workers,
    )


class StudyJoin:
    """Evaluators, graphs and data of one study file."""

    def __init__(self, file: StudyFile) -> None:
        self.file = file

    def evaluator(self, file: StudyFile) -> EvaluatorSpec:
        """The evaluator that the section `accuracy` of `file` asks for."""
        accuracy = file.accuracy
        if accuracy.evaluator == "table":
            table = str(file.path(accuracy.table or ""))
            return EvaluatorSpec("bitjoule.search.table:table", {"path": table})
        config: Json = {
            "network": {"zoo": file.network.zoo, "options": self.options},
            "data": self._data_config(file),
            "recipe": self._recipe(file),
            "init": accuracy.init,
        }
        return EvaluatorSpec(f"bitjoule.train.evaluate:{accuracy.evaluator}", config)

    def graph(self, candidate: Candidate) -> Graph:
        """The network of a candidate, built, captured, and reduced to its graph."""
        network = self.file.network
        if network.zoo is None:
            from bitjoule.workload import graph_from_onnx

            return graph_from_onnx(self.file.path(network.onnx or ""))
        from bitjoule import zoo
        from bitjoule.network import capture
        from bitjoule.train.topology import build_options

        options = build_options(self.options, candidate.topology)
        model = zoo.build(network.zoo, options, seed=0)
        return capture(model, input_shape=zoo.input_shape(network.zoo, options), name=network.zoo).graph

    def graph_content(self, file: StudyFile) -> Json:
        """The network section with what the data decide, or the hash of the ONNX file; versions."""
        network = file.network
        versions: Json = {"graph_version": GRAPH_VERSION, "code_version": __version__}
        if network.zoo is None:
            path = file.path(network.onnx or "")
            content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
            return {"onnx_sha256": content, **versions}  # what is not there, `graph` refuses by name
        return {"zoo": network.zoo, "options": self.options, **versions}

    def data_card(self, file: StudyFile) -> Json:
        """What the data are: name, hash, classes, sizes of the splits, whether images are lossy."""
        from bitjoule.zoo import data_card

        data = self.dataset
        sizes = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
        return {**data_card(data), "sizes": sizes}

    @cached_property
    def dataset(self) -> Dataset:
        """The whole dataset of the study."""
        from bitjoule.zoo import load_dataset

        config: dict[str, Any] = self._data_config(self.file)
        return load_dataset(**config)

    @cached_property
    def options(self) -> dict[str, object]:
        """Options of the network: what the data decide, then what the study file says."""
        network = self.file.network
        if network.zoo is None:
            return {}
        from bitjoule import zoo

        if network.classes != self.dataset.classes:
            raise ValueError(
                f"study {self.file.name!r}: network.classes is {network.classes}, "
                f"but {self.dataset.name} has {self.dataset.classes} classes"
            )
        known = zoo.network_card(network.zoo).options
        said: dict[str, object] = {"classes": network.classes}
        if network.in_channels is not None and "in_channels" in known:
            said["in_channels"] = network.in_channels
        if network.resolution is not None and "image_size" in known:
            said["image_size"] = network.resolution
        return fitted_options(network.zoo, {**said, **network.options}, self.dataset)

    def _data_config(self, file: StudyFile) -> dict[str, object]:
        data = file.data
        root = None if data.root is None else str(file.path(expanded(data.root)))
        resolution = file.network.resolution
        return {
            "kind": data.kind,
            "root": root,
            "validation": data.validation,
            "preprocessing": data.preprocessing,
            "resolution": resolution,
        }

    def _recipe(self, file: StudyFile) -> dict[str, object]:
        budget = file.accuracy.budget
        said = {
            "batch": budget.batch,
            "lr": budget.lr,
            "schedule": budget.schedule,
            "weight_decay": budget.weight_decay,
            "optimizer": budget.optimizer,
            "augment": file.data.augment,
        }
        return {key: value for key, value in said.items() if value is not None}


def fitted_options(network: str, options: Mapping[str, object], dataset: Dataset) -> dict[str, object]:
    """`options` completed by what the data decide: classes, channels, image size, inputs of an MLP."""
    from bitjoule import zoo

    known = zoo.network_card(network).options
    _, channels, height, _ = dataset.input_shape
    decided: dict[str, object] = {
        "classes": dataset.classes,
        "in_channels": channels,
        "image_size": height,
        "inputs": channels * height * dataset.input_shape[3],
    }
    return {key: value for key, value in decided.items() if key in known} | dict(options)


def expanded(text: str) -> str:
    """`text` with $NAME and ${NAME} replaced from the environment; BITJOULE_DATA has a default.

    The default, `../shared/data`, is seen from the current folder and taken only where it is one.

    Raises:
        ValueError: a variable that is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match["braced"] or match["plain"]
        if name in os.environ:
            return os.path.abspath(os.environ[name])
        if name == DATA_VARIABLE and os.path.isdir(DEFAULT_DATA):
            return os.path.abspath(DEFAULT_DATA)
        raise ValueError(f"data.root names ${name}, which is not set: export {name}=FOLDER")

    return VARIABLE.sub(value, text)
