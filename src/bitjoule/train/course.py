"""The course of a training under a scheme: one training, or the stages that a repair asks for.

Every way to train goes through `train_under`: `bitjoule.train`, `train_network`, studies, the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path

from torch import nn

from bitjoule.network import Network
from bitjoule.quant.repairs import Stage, repair_settings, repaired
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.train.loop import CHECKPOINT, train
from bitjoule.train.qat import QatConfig, quantizers
from bitjoule.train.recipes import Recipe
from bitjoule.train.result import Diverged, Epoch, Stopped, TrainResult
from bitjoule.train.start import quantized_for, start_of
from bitjoule.zoo.data import Dataset

__all__ = ["forget_checkpoints", "train_under"]


def train_under(
    net: Network,
    data: Dataset,
    scheme: Scheme | str,
    recipe: Recipe,
    *,
    seed: int,
    config: QatConfig | None = None,
    teacher: nn.Module | Network | None = None,
    workdir: Path | None = None,
    progress: Callable[[Epoch], object] | None = None,
    stop: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train the float network `net` under `scheme`, its repairs included, from the weights it has.

    Under `two_stage` the epochs are divided evenly: first binary activations over real weights, then both
    binary from the weights of the first. Each stage runs through the whole schedule and has its checkpoint in
    a folder of its own in `workdir`; the history holds the epochs of both, counted through.

    Raises:
        Diverged, Stopped, CheckpointError: as `train`.
        RepairError: a repair needs a teacher and there is none, or finds no binary layer.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> from bitjoule.train import recipe
    >>> data = zoo.load_dataset("digits", limit_train=200)
    >>> net = capture(zoo.tfc(inputs=64), input_shape=data.input_shape)
    >>> result = train_under(net, data, "w1a1+two_stage", recipe("smoke", epochs=2), seed=0)
    >>> [str(epoch)[:9] for epoch in result.history]
    ['epoch 1/2', 'epoch 2/2']
    """
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    stages = repair_settings(parsed).stages
    if not stages:
        return train(
            start_of(net, parsed, data, seed, config),
            data,
            recipe,
            seed=seed,
            teacher=teacher,
            workdir=workdir,
            progress=progress,
            stop=stop,
        )
    short = replace(recipe, epochs=recipe.epochs / len(stages), warmup=recipe.warmup / len(stages))
    base = repaired(net, parsed)
    joined: TrainResult | None = None
    trained: list[Epoch] = []  # in this call: a stage that was finished before is no reason to ask `stop`
    total = len(stages) * _epochs(short, data)
    for stage in stages:
        if trained and stop is not None and stop():
            raise Stopped(f"stopped before stage {stage.name!r}; the checkpoint is complete")
        start = _start(base, parsed, data, seed, config, stage, joined)
        before = () if joined is None else joined.history
        try:
            result = train(
                start,
                data,
                short,
                seed=seed,
                teacher=teacher,
                workdir=workdir and workdir / _folder(stage),
                progress=_renumbered(progress, trained, len(before), total),
                stop=stop,
                stage=stage,
            )
        except Diverged as error:
            reason = f"stage {stage.name!r}: {error}"
            raise Diverged(reason, _joined(before, replace(error.result, reason=reason), total)) from None
        joined = _joined(before, result, total)
    assert joined is not None
    return joined


def forget_checkpoints(workdir: Path) -> None:
    """Remove the checkpoints that `train_under` left in `workdir`, of every stage."""
    for path in (workdir / CHECKPOINT, *workdir.glob(f"stage-*/{CHECKPOINT}")):
        path.unlink(missing_ok=True)
        if path.parent != workdir and not any(path.parent.iterdir()):
            path.parent.rmdir()


def _folder(stage: Stage) -> str:
    return f"stage-{stage.name.replace(' ', '-')}"


def _epochs(recipe: Recipe, data: Dataset) -> int:
    """How many epochs a training under `recipe` counts, as `train` counts them."""
    images = len(data.train) * (2 if recipe.mirrored_copy else 1)
    steps = max(1, images // min(recipe.batch, max(1, images)))
    return ceil(max(1, ceil(recipe.epochs * steps)) / steps)


def _start(
    base: Network,
    scheme: Scheme,
    data: Dataset,
    seed: int,
    config: QatConfig | None,
    stage: Stage,
    before: TrainResult | None,
) -> Network:
    """A stage from the weights of the one before; quantizers that stay what they are keep their ranges."""
    real = not stage.binary_weights
    if before is None:
        return start_of(base, scheme, data, seed, config, real_weights=real)
    net = base.clone()
    state = before.network.state_dict()
    net.load_state_dict({name: state[name] for name in net.state_dict()})
    start = quantized_for(net, scheme, data, config, real_weights=real)
    known = quantizers(before.network)
    for path, quantizer in quantizers(start).items():
        same = known[path]
        if same.config == quantizer.config and same.tensor_format == quantizer.tensor_format:
            quantizer.load_state_dict(same.state_dict())
    return start


def _joined(before: tuple[Epoch, ...], result: TrainResult, total: int) -> TrainResult:
    """The result of a stage with the epochs before it."""
    count = len(before)
    later = tuple(replace(e, epoch=e.epoch + count, epochs=total) for e in result.history)
    best = result.best_epoch + count if result.best_epoch else 0
    return replace(result, history=(*before, *later), best_epoch=best)


def _renumbered(
    progress: Callable[[Epoch], object] | None, trained: list[Epoch], count: int, total: int
) -> Callable[[Epoch], object]:
    """`progress` with the epochs counted through, which are noted in `trained`."""

    def tell(epoch: Epoch) -> None:
        trained.append(replace(epoch, epoch=epoch.epoch + count, epochs=total))
        if progress is not None:
            progress(trained[-1])

    return tell
