"""Evaluators for studies: the accuracy of a candidate by training it, from a JSON config.

They satisfy `search.AccuracyEvaluator` by structure and import nothing of `search`. This file loads torch
only when a candidate is evaluated.

Config (all JSON; everything but `network` and `data` may be left out):

    {"network": {"zoo": "resnet8", "options": {"classes": 10}},
     "data": {"kind": "cifar10", "root": "/data", "validation": 0.1, "preprocessing": "signed"},
     "recipe": {"batch": 128, "augment": "crop-flip"},   fields of Recipe over the scheme's default
     "preset": "qat_default",                            a recipe in the place of the scheme's default
     "init": "parent" | "scratch",                       Moons' formats always start from U(-1, 1)
     "teacher": "parent",                                distillation from the parent, which also teaches
                                                         where a repair needs a teacher
     "weight": {"method": "lsq"}, "activation": {...},   QuantizerConfig of the scheme's own Formats
     "zero_point": true}                                 activations have one, by lsq+ or ste
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from bitjoule.quant.config import (
    ZERO_POINT_METHODS,
    QuantizerConfig,
    QuantizerError,
    Role,
    quantizer_config,
)
from bitjoule.train.recipes import (
    PRESETS,
    SCHEME_PRESETS,
    Recipe,
    RecipeError,
    recipe_from_json,
    scheme_recipe,
)
from bitjoule.train.topology import build_options

if TYPE_CHECKING:
    from bitjoule.network import Network
    from bitjoule.scheme import Scheme
    from bitjoule.train.accuracy import Accuracy
    from bitjoule.train.qat import QatConfig
    from bitjoule.zoo import Dataset

__all__ = ["VERSION", "EvaluationResult", "TrainingEvaluator", "qat", "short_qat"]

VERSION = 2
"""Raised when the same config, candidate and seed give other results."""

RESULT = "result.json"
WEIGHTS = "weights.safetensors"
SCHEMA = "bitjoule.training/1"
CONFIG_KEYS = ("network", "data", "recipe", "preset", "init", "teacher", "weight", "activation", "zero_point")
ROLES: tuple[Role, ...] = ("weight", "activation")
LONGEST = 1e6
"""Epochs that no recipe exceeds."""

DATA_KEYS = ("kind", "root", "validation", "resolution", "preprocessing", "seed")


class _Candidate(Protocol):
    @property
    def network(self) -> str: ...
    @property
    def topology(self) -> Sequence[tuple[str, int | float]]: ...
    @property
    def scheme(self) -> Scheme: ...


class _Budget(Protocol):
    @property
    def epochs(self) -> float: ...
    @property
    def train_images(self) -> int | None: ...
    @property
    def val_images(self) -> int | None: ...


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluator returns: accuracy 0..1, mean cross-entropy, numbers for the report, the weights."""

    accuracy: float
    loss: float
    metrics: dict[str, object] = field(default_factory=dict)
    weights: Path | None = None


def short_qat(config: Mapping[str, object]) -> TrainingEvaluator:
    """A few epochs of quantized training from the float parent of the same topology."""
    if config.get("init", "parent") != "parent":
        raise ValueError(
            "evaluator short_qat starts from a parent: init must be 'parent'; use qat for 'scratch'"
        )
    return TrainingEvaluator("short_qat", {**config, "init": "parent"})


def qat(config: Mapping[str, object]) -> TrainingEvaluator:
    """A full training, from the float parent (`init` "parent") or from scratch (default)."""
    return TrainingEvaluator("qat", {"init": "scratch", **config})


class TrainingEvaluator:
    """Trains a candidate once per folder and measures it on any split; build it with `short_qat` or `qat`.

    >>> evaluator = qat({"network": {"zoo": "tfc"}, "data": {"kind": "digits"}})
    >>> evaluator.name, evaluator.fingerprint()["init"]
    ('qat', 'scratch')
    """

    version = VERSION

    def __init__(self, name: str, config: Mapping[str, object]) -> None:
        self.name = name
        for key in ("network", "data"):
            if not isinstance(config.get(key), Mapping):
                raise ValueError(f"evaluator {name}: config needs {key!r}, a mapping")
        _only(name, "config", config, CONFIG_KEYS)
        _only(name, "config.data", cast(Mapping[str, object], config["data"]), DATA_KEYS)
        if config["init"] not in ("parent", "scratch"):
            raise ValueError(f"evaluator {name}: init must be 'parent' or 'scratch', not {config['init']!r}")
        if config.get("teacher") not in (None, "parent"):
            raise ValueError(
                f"evaluator {name}: teacher must be 'parent' or left out, not {config['teacher']!r}"
            )
        if config.get("teacher") and config["init"] == "scratch":
            raise ValueError(f"evaluator {name}: teacher 'parent' needs init 'parent'")
        preset = config.get("preset")
        if preset is not None and preset not in PRESETS:
            raise RecipeError(f"unknown recipe {preset!r}; recipes: {', '.join(PRESETS)}")
        self.config: dict[str, Any] = dict(config)
        if not isinstance(config.get("recipe") or {}, Mapping):
            raise RecipeError(
                f"evaluator {name}: recipe must be a mapping of fields, not {config['recipe']!r}"
            )
        base = PRESETS[cast(str, preset)] if preset else PRESETS["qat_default"]
        recipe_from_json({**self._changes(), "epochs": LONGEST}, base)  # warm-up waits for the budget
        self.quantizers: dict[Role, QuantizerConfig | None] = {}
        for role in ROLES:
            given = config.get(role)
            try:
                self.quantizers[role] = (
                    None if given is None else quantizer_config(cast(Mapping[str, object], given), role)
                )
            except QuantizerError as error:
                raise QuantizerError(f"evaluator {name}: {error}") from None
        if config.get("zero_point", False) not in (True, False):
            raise ValueError(
                f"evaluator {name}: zero_point must be true or false, not {config['zero_point']!r}"
            )
        method = self.quantizers["activation"] and self.quantizers["activation"].method
        if config.get("zero_point") and method not in ZERO_POINT_METHODS:
            raise QuantizerError(
                f"evaluator {name}: zero_point needs activations by {' or '.join(ZERO_POINT_METHODS)}: "
                'add "activation": {"method": "lsq+"}'
            )

    def fingerprint(self) -> dict[str, object]:
        """Everything that changes the result beyond candidate, budget, seed, split, data and parent."""
        preset = self.config.get("preset")
        bases = {preset: PRESETS[preset]} if preset else {name: PRESETS[name] for name in SCHEME_PRESETS}
        data = self.config["data"]
        found: dict[str, object] = {
            "init": self.config["init"],
            "teacher": self.config.get("teacher"),
            "recipe": self._changes(),
            "defaults": {name: recipe.settings() for name, recipe in bases.items()},
            "weight": self.config.get("weight"),
            "activation": self.config.get("activation"),
            "preprocessing": data.get("preprocessing", "signed"),
            "resolution": data.get("resolution"),
        }
        return found | ({"zero_point": True} if self.config.get("zero_point") else {})

    def recipe_for(self, scheme: Scheme, epochs: float) -> Recipe:
        """The recipe of a candidate under `scheme`; a fifth of the budget is the most that a default warm-up
        takes.

        Raises:
            RecipeError: the config's own warm-up is longer than the budget.
        """
        preset = self.config.get("preset")
        base = (
            PRESETS[preset]
            if preset
            else scheme_recipe(scheme, epochs, scratch=self.config["init"] == "scratch")
        )
        changes = self._changes()
        warmup = changes.setdefault("warmup", min(base.warmup, epochs / 5))
        if cast(float, warmup) > epochs:
            raise RecipeError(
                f"evaluator {self.name}: the recipe's warmup of {warmup:g} epochs is longer than the "
                f"budget of {epochs:g}; lower warmup, leave it out, or raise the epochs of the budget"
            )
        return recipe_from_json({**changes, "epochs": epochs}, base)

    def __call__(
        self,
        candidate: _Candidate,
        budget: _Budget,
        seed: int,
        workdir: Path,
        *,
        split: str,
        parent_workdir: Path | None,
        stop: Callable[[], bool],
    ) -> EvaluationResult:
        """Accuracy of one candidate on `validation` or `test`; trains unless `workdir` holds the finished
        training.

        Raises:
            Diverged: the training did.
            ValueError: init is "parent" and there is none.
        """
        from bitjoule.train.accuracy import measure

        if split not in ("validation", "test"):
            raise ValueError(f"split must be 'validation' or 'test', not {split!r}")
        _use_threads()
        data = dataset_of(
            json.dumps(self.config["data"], sort_keys=True), budget.train_images, budget.val_images
        )
        net = self._start(candidate, seed, parent_workdir)
        finished = workdir / RESULT
        if finished.is_file():
            from bitjoule.train.start import start_of

            net = start_of(net, candidate.scheme, data, seed, self._qat_config())
            _load(net, workdir / WEIGHTS)
            metrics = cast(dict[str, object], json.loads(finished.read_text(encoding="utf-8"))["metrics"])
        else:
            net, metrics = self._train(net, candidate, data, budget, seed, workdir, parent_workdir, stop)
        chosen = data.validation if split == "validation" else data.test
        accuracy: Accuracy = measure(net, chosen, data.preprocessing)
        return EvaluationResult(accuracy.fraction, accuracy.loss, metrics, workdir / WEIGHTS)

    def _start(self, candidate: _Candidate, seed: int, parent: Path | None) -> Network:
        """The float network with the weights that its training begins with."""
        net = self._float(candidate, seed)
        if self.config["init"] == "parent":
            _load(net, _parent_weights(parent))
        return net

    def _float(self, candidate: _Candidate, seed: int) -> Network:
        import torch

        from bitjoule.network import capture
        from bitjoule.zoo import build, input_shape

        described = self.config["network"]
        name = described.get("zoo", candidate.network)
        options = build_options(described.get("options", {}), candidate.topology)
        net = capture(build(name, options, seed), input_shape=input_shape(name, options), name=name)
        return net.to("cuda") if torch.cuda.is_available() else net

    def _train(
        self,
        net: Network,
        candidate: _Candidate,
        data: Dataset,
        budget: _Budget,
        seed: int,
        workdir: Path,
        parent_workdir: Path | None,
        stop: Callable[[], bool],
    ) -> tuple[Network, dict[str, object]]:
        from bitjoule.train.checkpoint import save_weights, write_json
        from bitjoule.train.course import forget_checkpoints, train_under
        from bitjoule.train.repaired_recipe import needs_teacher

        workdir.mkdir(parents=True, exist_ok=True)
        teacher = None
        with_parent = parent_workdir is not None
        if self.config.get("teacher") or (with_parent and needs_teacher(candidate.scheme)):
            teacher = self._float(candidate, seed)
            _load(teacher, _parent_weights(parent_workdir))
        result = train_under(
            net,
            data,
            candidate.scheme,
            self.recipe_for(candidate.scheme, budget.epochs),
            seed=seed,
            config=self._qat_config(),
            teacher=teacher,
            workdir=workdir,
            progress=lambda epoch: print(f"{candidate.network} {candidate.scheme}: {epoch}", flush=True),
            stop=stop,
        )
        save_weights(workdir / WEIGHTS, result.network.state_dict())
        history = [vars(epoch) for epoch in result.history]
        write_json(workdir / RESULT, {"schema": SCHEMA, "metrics": result.metrics(), "history": history})
        forget_checkpoints(workdir)
        return result.network, result.metrics()

    def _changes(self) -> dict[str, object]:
        """Fields of the recipe that the config sets; epochs come with the budget of each call."""
        given = cast(Mapping[str, object], self.config.get("recipe") or {})
        return {key: value for key, value in given.items() if key != "epochs" and value is not None}

    def _qat_config(self) -> QatConfig:
        from bitjoule.train.qat import QatConfig

        zero_point = bool(self.config.get("zero_point"))
        return QatConfig(self.quantizers["weight"], self.quantizers["activation"], zero_point)


@functools.lru_cache(maxsize=4)
def dataset_of(described: str, train_images: int | None, val_images: int | None) -> Dataset:
    """The dataset of a config (as JSON text) with limits, read once per process."""
    from bitjoule.zoo import load_dataset

    config = json.loads(described)
    return load_dataset(**config, limit_train=train_images, limit_val=val_images)


def _parent_weights(parent: Path | None) -> Path:
    if parent is None:
        raise ValueError("init 'parent' needs the folder of the finished float32 parent, but none was given")
    return parent / WEIGHTS


def _load(net: Network, path: Path) -> None:
    from bitjoule.zoo import load_weights

    load_weights(net.module, path)


def _use_threads() -> None:
    """Follow BITJOULE_THREADS, which an executor sets to the cores of this worker."""
    import torch

    count = os.environ.get("BITJOULE_THREADS", "")
    if count.isdigit() and int(count) > 0:
        torch.set_num_threads(int(count))


def _only(name: str, where: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ValueError(f"evaluator {name}: {where} has no key {unknown[0]!r}; keys: {', '.join(known)}")
