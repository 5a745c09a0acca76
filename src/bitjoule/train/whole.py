"""One network from start to test accuracy: the float parent, then the same network under a scheme."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from bitjoule.network import Network
from bitjoule.quant.repairs import repair_settings
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.train.accuracy import Accuracy, measure
from bitjoule.train.checkpoint import save_weights
from bitjoule.train.course import train_under
from bitjoule.train.matching import matching_blocks
from bitjoule.train.qat import QatConfig
from bitjoule.train.recipes import Recipe, RecipeError, scheme_recipe
from bitjoule.train.repaired_recipe import needs_teacher
from bitjoule.train.result import Diverged, Epoch, TrainResult
from bitjoule.train.start import image_signed, quantized_for, start_of
from bitjoule.zoo.data import Dataset

__all__ = ["TrainReport", "image_signed", "quantized_for", "start_of", "train_network", "train_scheme"]

WEIGHTS = "weights.safetensors"


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
    for `epochs`; repairs of the scheme go over it. `teacher`: whose outputs are learned too, as the recipe
    says, or the repairs `teacher` and `attention_match`, which cannot do without.

    Raises:
        Diverged: the loss or the weights became infinite or NaN.
        RepairError: a repair needs a teacher and there is none, or finds no binary layer.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> data = zoo.load_dataset("digits", limit_train=200)
    >>> net = capture(zoo.tfc(inputs=64), input_shape=data.input_shape)
    >>> str(train_scheme(net, data, "w4a4", epochs=1).scheme)
    'w4a4'
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    return train_under(
        net,
        data,
        parsed,
        scheme_recipe(parsed, epochs) if recipe is None else recipe,
        seed=seed,
        config=config,
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
    teacher: nn.Module | Network | Literal["parent"] | None = None,
    workdir: str | Path | None = None,
    progress: Callable[[Epoch], object] | None = None,
) -> TrainReport:
    """Train a float parent of `net` (0 epochs: none), then the network under `scheme`, and measure both.

    Without a parent the network starts from the weights it has. Moons' formats, whose scale is fixed, start
    from U(-1, 1) in either case. With `workdir` the checkpoints of the two trainings go to its folders
    `parent` and `quantized`, the weights to `weights.safetensors`. A divergence under the scheme is reported
    in `failure`; one of the parent raises Diverged.

    `teacher` "parent" is the float parent; it also teaches where a repair of the scheme needs a teacher and
    none is given. A recipe that is given has its own epochs, and `epochs` or `parent_epochs` is not read, but
    for the 0 that leaves the parent out. What the scheme cannot do with this network is refused before the
    parent is trained.

    Raises:
        RecipeError: `teacher` is "parent" and no parent is trained, or it is another word; or
            `parent_epochs` is no number from 0 on.
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    folder = None if workdir is None else Path(workdir)
    child_recipe = scheme_recipe(parsed, epochs) if recipe is None else recipe
    if not parent_epochs >= 0:
        raise RecipeError(f"parent_epochs must be 0 (no parent) or more, not {parent_epochs!r}")
    if isinstance(teacher, str) and teacher != "parent":
        raise RecipeError(f"teacher must be a network, 'parent' or None, not {teacher!r}")
    parent: TrainResult | None = None
    if parent_epochs > 0 and not parsed.is_float32:
        _refuse_early(net, data, parsed, config, teacher)
        plain = parse_scheme("float32")
        parent = train_under(
            net,
            data,
            plain,
            scheme_recipe(plain, parent_epochs) if parent_recipe is None else parent_recipe,
            seed=seed,
            workdir=folder and folder / "parent",
            progress=progress,
        )
    if parent is None and teacher == "parent":
        raise RecipeError(
            f"teacher 'parent' of scheme {parsed}: no float parent is trained; give parent_epochs > 0, or "
            "leave the teacher out"
        )
    if parent is not None and (teacher == "parent" or (teacher is None and needs_teacher(parsed))):
        teacher = parent.network
    failure = ""
    try:
        result = train_under(
            net if parent is None else parent.network,
            data,
            parsed,
            child_recipe,
            seed=seed,
            config=config,
            teacher=None if isinstance(teacher, str) else teacher,
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


def _refuse_early(
    net: Network,
    data: Dataset,
    scheme: Scheme,
    config: QatConfig | None,
    teacher: nn.Module | Network | str | None,
) -> None:
    """Raise what the training under `scheme` would raise at its start, on a network that is thrown away."""
    tried = net.clone()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for parameter in tried.parameters():
            parameter.nan_to_num_()  # NaN is for the training of the parent to tell
        start = quantized_for(tried, scheme, data, config)
    if repair_settings(scheme).attention:
        matching_blocks(start, teacher if isinstance(teacher, Network) else net)
