"""The training loop: from a Network, data and a Recipe to a trained Network, the same for the same seed.

On one machine with one number of threads a seed gives identical weights, also when the training was killed
and continued from its checkpoint. The network given is not changed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bitjoule.network import Network
from bitjoule.quant.repairs import Stage
from bitjoule.train.accuracy import Accuracy, measure
from bitjoule.train.average import WeightAverage, kept_buffers, reestimate_batch_norm
from bitjoule.train.between_steps import BetweenSteps
from bitjoule.train.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from bitjoule.train.identity import identity, root_of
from bitjoule.train.objective import Objective
from bitjoule.train.optimizers import Optimizers
from bitjoule.train.parameters import (
    batch_norms,
    clip_latent,
    holds_weights,
    latent_limits,
    unfit_parameter,
)
from bitjoule.train.qat import quantizers
from bitjoule.train.recipes import Recipe
from bitjoule.train.repaired_recipe import refuse_missing_teacher, repaired_recipe, settings_of
from bitjoule.train.result import Diverged, Epoch, Stopped, TrainResult
from bitjoule.train.schedule import learning_rate
from bitjoule.zoo.data import Dataset, Split, batches

__all__ = ["CHECKPOINT", "train"]

CHECKPOINT = "checkpoint.safetensors"
STARTED = ".initialized"
"""Buffer of a quantizer whose range was found: it stays found, whatever the loss of that batch."""
BAD_STEPS = 3
"""Consecutive steps with a loss that is not finite after which a training has diverged."""


def train(
    net: Network,
    data: Dataset,
    recipe: Recipe,
    *,
    seed: int,
    teacher: nn.Module | Network | None = None,
    workdir: Path | None = None,
    progress: Callable[[Epoch], object] | None = None,
    stop: Callable[[], bool] | None = None,
    stage: Stage | None = None,
) -> TrainResult:
    """Train a copy of `net`; quantized when `prepare_qat` made it.

    The training split trains, the validation split chooses the epoch, the test split is not touched. Runs
    where the weights are. With `workdir` every epoch leaves a checkpoint there, and the same call continues
    from it. `progress` gets each Epoch; `stop` is asked after each checkpoint. With a `teacher` the loss is
    mixed with distillation as the recipe says.

    Repairs in the scheme of `net` go over the recipe: optimizer, decay, teacher, attention maps, flips. Of
    two stages this is one, `stage`; `course.train_under` trains them all.

    Raises:
        RepairError: a repair needs a teacher and there is none, or its blocks do not pair.
        Diverged: the loss was not finite in 3 steps in a row, or a parameter is not finite after an epoch.
        Stopped: `stop` returned True.
        CheckpointError: the checkpoint in `workdir` is of another training.
        TypeError: `teacher` is neither a module nor a Network.
        ValueError: there are no training images, or the teacher's outputs are not shaped like the network's.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> from bitjoule.train import recipe
    >>> data = zoo.load_dataset("digits", limit_train=200)
    >>> net = capture(zoo.tfc(inputs=64), input_shape=data.input_shape)
    >>> result = train(net, data, recipe("smoke"), seed=0)
    >>> result.status, len(result.history)
    ('done', 1)
    """
    if teacher is None:
        refuse_missing_teacher(net.scheme)
    elif not isinstance(teacher, nn.Module | Network):
        raise TypeError(f"train: teacher must be a torch module or a Network, not {teacher!r}")
    with _deterministic(seed), _evaluating(teacher):
        run = _Run(net, data, recipe, seed, teacher, workdir, stage)
        return run.to_the_end(progress, stop)


@contextmanager
def _deterministic(seed: int) -> Iterator[None]:
    """Seed torch's own generators (dropout draws from them) and ask for repeatable kernels; restore both."""
    kept = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(kept[0], warn_only=kept[1])
            torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


@contextmanager
def _evaluating(teacher: nn.Module | Network | None) -> Iterator[None]:
    """Evaluation mode for the teacher; afterwards every module of it is in the mode it was in."""
    if teacher is None:
        yield
        return
    modes = [(module, module.training) for module in root_of(teacher).modules()]
    teacher.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


class _Run:
    """One training under way: everything a checkpoint holds."""

    def __init__(
        self,
        net: Network,
        data: Dataset,
        recipe: Recipe,
        seed: int,
        teacher: nn.Module | Network | None,
        workdir: Path | None,
        stage: Stage | None,
    ) -> None:
        settings = settings_of(net.scheme)
        recipe = repaired_recipe(recipe, settings, stage)
        self.workdir = workdir
        self.net = net.clone()
        self.device = next((p.device for p in self.net.parameters()), torch.device("cpu"))
        self.data = data.to(self.device)
        self.split = self.data.train
        if recipe.mirrored_copy:
            images = torch.cat([self.split.images, self.split.images.flip(-1)])
            self.split = Split(images, self.split.labels.repeat(2))
        if len(self.split) == 0:
            raise ValueError("train: the dataset has no training images")
        self.identity = identity(net, data, recipe, seed, teacher, stage) if workdir else {}
        self.layout = torch.contiguous_format
        if any(p.dim() == 4 for p in self.net.parameters()):
            self.layout = torch.channels_last
            self.net.to(memory_format=self.layout)
        self.batch = min(recipe.batch, len(self.split))
        _refuse_single_values(net, self.batch, len(self.split))
        self.recipe = recipe = replace(recipe, batch=self.batch)  # its rate follows the batch that is trained
        self.quantized = bool(quantizers(self.net))
        self.steps_per_epoch = len(self.split) // self.batch
        self.total_steps = max(1, math.ceil(recipe.epochs * self.steps_per_epoch))
        self.epochs = math.ceil(self.total_steps / self.steps_per_epoch)
        self.freeze_from = self.total_steps - round(recipe.freeze_batch_norm * self.total_steps)
        self.optimizers = Optimizers(self.net, recipe, flips=settings.flips)
        self.objective = Objective(self.net, recipe, settings, teacher, stage)
        self.limits = latent_limits(self.net)
        self.between = BetweenSteps(self.net)
        self.generator = torch.Generator().manual_seed(seed)
        averaged = recipe.ema is not None and not holds_weights(self.net)
        self.average = WeightAverage(self.net, recipe.ema or 0.0) if averaged else None
        self.step = 0
        self.bad_steps = 0
        self.history: list[Epoch] = []
        self.best_epoch = 0
        self.best: Accuracy | None = None
        self.best_state: dict[str, Tensor] = {}

    # --- the course --------------------------------------------------------------------------

    def to_the_end(
        self, progress: Callable[[Epoch], object] | None, stop: Callable[[], bool] | None
    ) -> TrainResult:
        self._resume()
        while len(self.history) < self.epochs:
            started = time.perf_counter()
            loss, rate = self._one_epoch()
            self._refuse_unfit()
            accuracy = self._validate()
            seconds = time.perf_counter() - started
            epoch = Epoch(
                len(self.history) + 1, self.epochs, loss, accuracy.fraction, accuracy.loss, rate, seconds
            )
            self.history.append(epoch)
            self._save()
            if progress is not None:
                progress(epoch)
            if stop is not None and len(self.history) < self.epochs and stop():
                raise Stopped(
                    f"stopped after epoch {epoch.epoch} of {self.epochs}; the checkpoint is complete"
                )
        return self._result("done", "")

    def _one_epoch(self) -> tuple[float, float]:
        """Mean loss and last learning rate of a pass."""
        self.net.train()
        self.between.begin_epoch(len(self.history), self.epochs)
        frozen = False
        total = torch.zeros((), device=self.device)
        learned, rate = 0, 0.0
        drawn = batches(
            self.split,
            self.batch,
            preprocessing=self.data.preprocessing,
            generator=self.generator,
            augment=self.recipe.augment,
            device=self.device,
        )
        for steps, (images, labels) in enumerate(drawn):
            if steps == self.steps_per_epoch or self.step >= self.total_steps:
                break
            if self.step >= self.freeze_from and not frozen:
                frozen = True
                self._freeze()
            rate = learning_rate(self.recipe, self.step, self.steps_per_epoch, self.total_steps)
            loss = self._one_step(images.contiguous(memory_format=self.layout), labels, rate)
            if loss is not None:
                total += loss
                learned += 1
            elif self.bad_steps >= BAD_STEPS:
                raise self._diverged(
                    f"the loss was not finite in {BAD_STEPS} steps in a row, up to step {self.step}"
                )
        return float(total) / learned if learned else math.nan, rate

    def _freeze(self) -> None:
        """Batch norm uses its running statistics from here on: at the first such step those of the weights
        as they are now.
        """
        if self.step == self.freeze_from:
            self._reestimate()
        for norm in batch_norms(self.net):
            norm.eval()

    def _one_step(self, images: Tensor, labels: Tensor, rate: float) -> Tensor | None:
        """The loss; None when it was not finite, and then nothing was learned from this batch."""
        self.optimizers.set_rates(rate, self.step)
        named = self.net.module.named_buffers()
        buffers = [buffer for name, buffer in named if not name.endswith(STARTED)]
        before = _copies(buffers)
        loss = self.objective(images, labels, self.step / self.total_steps)
        penalty = self.between.penalty(self.step / self.total_steps)
        if penalty is not None:
            loss = loss + penalty
        self.step += 1
        if not bool(torch.isfinite(loss)):
            self.bad_steps += 1
            with torch.no_grad():
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)
            return None
        self.bad_steps = 0
        self.optimizers.step(loss)
        clip_latent(self.limits)
        self.between.after_step(self.optimizers.network, self.step / self.total_steps)
        if self.average is not None:
            self.average.update(self.step - 1)
        return loss.detach()

    def _validate(self) -> Accuracy:
        """Accuracy on the validation split of the weights that would be returned; keeps them if they are
        best.

        Averaged or quantized weights get statistics of their own, but for live weights that train with
        frozen ones. The training goes on with its own weights and buffers.
        """
        frozen = self.step > self.freeze_from
        average = self.average
        with kept_buffers(self.net) if average is None else average.in_place(self.net):
            if average is not None or (self.quantized and not frozen):
                self._reestimate()
            accuracy = measure(self.net, self.data.validation, self.data.preprocessing)
            self._keep(accuracy)
        return accuracy

    def _reestimate(self) -> None:
        """Statistics of batch norm that go with the weights as they are now."""
        reestimate_batch_norm(self.net, self.split, self.data.preprocessing, self.batch, self.recipe.augment)

    def _keep(self, accuracy: Accuracy) -> None:
        better = self.best is None or (accuracy.fraction, -accuracy.loss) > (
            self.best.fraction,
            -self.best.loss,
        )
        if self.recipe.keep == "last" or better:
            self.best, self.best_epoch = accuracy, len(self.history) + 1
            self.best_state = {name: value.detach().clone() for name, value in self.net.state_dict().items()}

    def _refuse_unfit(self) -> None:
        name = unfit_parameter(self.net)
        if name is not None:
            raise self._diverged(f"{name} holds NaN or infinity after epoch {len(self.history) + 1}")

    def _diverged(self, reason: str) -> Diverged:
        return Diverged(reason, self._result("diverged", reason))

    def _result(self, status: str, reason: str) -> TrainResult:
        if self.best_state:
            self.net.load_state_dict(self.best_state)
        self.net.to(memory_format=torch.contiguous_format).eval()
        return TrainResult(
            network=self.net,
            status=status,
            reason=reason,
            history=tuple(self.history),
            best_epoch=self.best_epoch,
            validation=self.best,
            threads=torch.get_num_threads(),
        )

    # --- checkpoints -------------------------------------------------------------------------

    def _save(self) -> None:
        if self.workdir is None:
            return
        best = None if self.best is None else asdict(self.best)
        document = {
            "identity": self.identity,
            "step": self.step,
            "bad_steps": self.bad_steps,
            "history": [asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "best": best,
        }
        generators = {"order": self.generator.get_state(), "torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.net.state_dict(),
            "best": self.best_state,
            **self.optimizers.sections(),
            "generators": generators,
        }
        if self.average is not None:
            tensors["average"] = {str(i): value for i, value in enumerate(self.average.state())}
        self.workdir.mkdir(parents=True, exist_ok=True)
        save_checkpoint(self.workdir / CHECKPOINT, Checkpoint(document, tensors))

    def _resume(self) -> None:
        if self.workdir is None or not (self.workdir / CHECKPOINT).is_file():
            return
        path = self.workdir / CHECKPOINT
        checkpoint = load_checkpoint(path)
        document = checkpoint.document
        found = dict(cast(Mapping[str, object], document["identity"]))
        found["recipe"] = {**Recipe(epochs=1).to_json(), **cast(Mapping[str, object], found["recipe"])}
        other = [key for key, value in self.identity.items() if found.get(key) != value]
        if other:
            raise CheckpointError(
                f"{path} belongs to another training: its {', '.join(other)} "
                f"differ{'s' if len(other) == 1 else ''}; give another workdir, or delete it to train anew"
            )
        self.net.load_state_dict(checkpoint.section("model"))
        self.optimizers.restore(checkpoint)
        generators = checkpoint.section("generators")
        self.generator.set_state(generators["order"])
        torch.set_rng_state(generators["torch"])
        if "cuda" in generators and self.device.type == "cuda":
            torch.cuda.set_rng_state(generators["cuda"], self.device)
        if self.average is not None:
            values = checkpoint.section("average")
            self.average.load([values[str(i)] for i in range(len(values))])
        self.best_state = checkpoint.section("best")
        self.step = cast(int, document["step"])
        entries = cast(list[dict[str, Any]], document["history"])
        self.bad_steps = cast(int, document["bad_steps"])
        self.history = [Epoch(**entry) for entry in entries]
        self.best_epoch = cast(int, document["best_epoch"])
        best = document["best"]
        self.best = None if best is None else Accuracy(**cast(dict[str, Any], best))


def _copies(tensors: list[Tensor]) -> list[Tensor]:
    """Copies, those of floats in one call."""
    floats = [i for i, tensor in enumerate(tensors) if tensor.is_floating_point()]
    copied = dict(
        zip(floats, torch._foreach_mul([tensors[i] for i in floats], 1.0) if floats else [], strict=True)
    )
    return [copied[i] if i in copied else tensor.clone() for i, tensor in enumerate(tensors)]


def _refuse_single_values(net: Network, batch: int, images: int) -> None:
    """A batch of one image has no variance where batch norm sees one value per channel."""
    for node in net.graph.nodes:
        shape = net.graph.tensors[node.output].shape
        if batch == 1 and node.op == "batch_norm" and math.prod(shape) == shape[1]:
            remedy = "at least 2 training images" if images == 1 else "a recipe with a batch of 2 or more"
            raise ValueError(
                f"train: batch norm {node.name} sees one value per channel in a batch of 1 image and cannot "
                f"take a variance of it; give {remedy}"
            )
