"""One network from start to test accuracy: the float parent, then the same network under a scheme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from bitjoule.network import Network
from bitjoule.scheme import RepairError, Scheme, parse_scheme
from bitjoule.train.accuracy import Accuracy, measure
from bitjoule.train.checkpoint import save_weights
from bitjoule.train.loop import train
from bitjoule.train.qat import QatConfig, moons_initialize, prepare_qat, uses_moons
from bitjoule.train.recipes import Recipe, scheme_recipe
from bitjoule.train.result import Diverged, Epoch, TrainResult
from bitjoule.zoo.data import Dataset, Preprocessing

__all__ = ["TrainReport", "image_signed", "quantized_for", "start_of", "train_network", "train_scheme"]

WEIGHTS = "weights.safetensors"


LOOP_REPAIRS = ("adam", "sgd", "decay", "teacher", "attention_match", "two_stage", "bop")
"""Repairs that change how weights are updated, not what the network computes."""


@dataclass(frozen=True)
class TrainReport:
    """Accuracies of the float parent (None without one) and of the network under the scheme.

    `failure` is empty, or says why the training under the scheme diverged; its accuracies are then None.
    """

    network: Network
    scheme: Scheme
    parent_validation: Accuracy | None
    parent_test: Accuracy | None
    validation: Accuracy | None
    test: Accuracy | None
    history: tuple[Epoch, ...]
    seed: int
    threads: int
    failure: str = ""

    def to_json(self) -> dict[str, object]:
        """Numbers for people and programs."""

        def number(accuracy: Accuracy | None) -> float | None:
            return None if accuracy is None else accuracy.fraction

        return {
            "parent_accuracy_validation": number(self.parent_validation),
            "parent_accuracy_test": number(self.parent_test),
            "accuracy_validation": number(self.validation),
            "accuracy_test": number(self.test),
            "epochs": len(self.history),
            "seconds": round(sum(epoch.seconds for epoch in self.history), 3),
            "seed": self.seed,
            "threads": self.threads,
            "failure": self.failure or None,
        }


def image_signed(preprocessing: Preprocessing) -> bool:
    """Whether a network sees negative inputs."""
    return preprocessing.kind != "unit"


def quantized_for(
    net: Network, scheme: Scheme | str, data: Dataset, config: QatConfig | None = None
) -> Network:
    """`prepare_qat` with what the data say of the input: its sign, and its exact scale where there is one.

    Raises:
        RepairError: repairs of the scheme that only a training loop of one's own can follow.
    """
    _refuse_unread(parse_scheme(scheme) if isinstance(scheme, str) else scheme)
    return prepare_qat(
        net,
        scheme,
        config,
        input_scale=data.preprocessing.input_scale,
        image_signed=image_signed(data.preprocessing),
    )


def _refuse_unread(scheme: Scheme) -> None:
    """A repair that would change nothing is no repair."""
    unread = [name for name in scheme.repairs if name in LOOP_REPAIRS]
    if unread:
        raise RepairError(
            f"scheme {scheme}: the training loop does not follow {', '.join(unread)}; leave them out, choose "
            "optimizer, decay and distillation in the recipe, or train with a loop of your own "
            "(quant.repairs.repair_settings)"
        )


def start_of(
    net: Network, scheme: Scheme | str, data: Dataset, seed: int, config: QatConfig | None = None
) -> Network:
    """The network as its training under `scheme` begins, for every way to train: `quantized_for`, and weights
    of Moons' formats, whose scale is fixed, drawn anew from U(-1, 1).
    """
    prepared = quantized_for(net, scheme, data, config)
    if uses_moons(prepared):
        moons_initialize(prepared, seed)
    return prepared


def train_scheme(
    net: Network,
    data: Dataset,
    scheme: Scheme | str = "float32",
    *,
    epochs: float = 5,
    seed: int = 0,
    recipe: Recipe | None = None,
    config: QatConfig | None = None,
    teacher: nn.Module | Network | None = None,
    workdir: str | Path | None = None,
    progress: Callable[[Epoch], object] | None = None,
) -> Network:
    """Train `net` from the weights it has and return the trained Network, quantized under `scheme`.

    Moons' formats, whose scale is fixed, start anew from U(-1, 1). `recipe` None: the default of the scheme
    for `epochs`. Raises Diverged.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> data = zoo.load_dataset("digits", limit_train=200)
    >>> net = capture(zoo.tfc(inputs=64), input_shape=data.input_shape)
    >>> str(train_scheme(net, data, "w4a4", epochs=1).scheme)
    'w4a4'
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    start = start_of(net, parsed, data, seed, config)
    return train(
        start,
        data,
        scheme_recipe(parsed, epochs) if recipe is None else recipe,
        seed=seed,
        teacher=teacher,
        workdir=None if workdir is None else Path(workdir),
        progress=progress,
    ).network


def train_network(
    net: Network,
    data: Dataset,
    scheme: Scheme | str,
    *,
    epochs: float = 5,
    parent_epochs: float = 10,
    seed: int = 0,
    recipe: Recipe | None = None,
    parent_recipe: Recipe | None = None,
    config: QatConfig | None = None,
    workdir: str | Path | None = None,
    progress: Callable[[Epoch], object] | None = None,
) -> TrainReport:
    """Train a float parent of `net` (0 epochs: none), then the network under `scheme`, and measure both.

    Without a parent the network starts from the weights it has. Moons' formats, whose scale is fixed, start
    from U(-1, 1) in either case. With `workdir` the checkpoints of the two trainings go to its folders
    `parent` and `quantized`, the weights to `weights.safetensors`. A divergence under the scheme is reported
    in `failure`; one of the parent raises Diverged.
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    folder = None if workdir is None else Path(workdir)
    parent: TrainResult | None = None
    if parent_epochs > 0 and not parsed.is_float32:
        parent = train(
            net,
            data,
            scheme_recipe(parse_scheme("float32"), parent_epochs) if parent_recipe is None else parent_recipe,
            seed=seed,
            workdir=folder and folder / "parent",
            progress=progress,
        )
    start = start_of(net if parent is None else parent.network, parsed, data, seed, config)
    failure = ""
    try:
        result = train(
            start,
            data,
            scheme_recipe(parsed, epochs) if recipe is None else recipe,
            seed=seed,
            workdir=folder and folder / "quantized",
            progress=progress,
        )
    except Diverged as error:
        result, failure = error.result, str(error)
    if folder is not None and not failure:
        save_weights(folder / WEIGHTS, result.network.state_dict())
    return TrainReport(
        network=result.network,
        scheme=parsed,
        parent_validation=None if parent is None else parent.validation,
        parent_test=None if parent is None else measure(parent.network, data.test, data.preprocessing),
        validation=None if failure else result.validation,
        test=None if failure else measure(result.network, data.test, data.preprocessing),
        history=result.history,
        seed=seed,
        threads=result.threads,
        failure=failure,
    )
