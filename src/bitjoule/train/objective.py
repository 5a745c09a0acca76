"""The loss of one batch: the recipe's, mixed with a teacher's, as the repairs of the scheme say.

plain            (1 - a) loss + a T^2 KL with a teacher, the loss alone without
teacher          cross-entropy to the teacher's softmax; labels are not read
attention_match  early the loss + 30 x the distance of attention maps, late + 0.8 x cross-entropy to the
                 teacher's softmax (nothing where that is the loss already); early is the stage with real
                 weights, or the first half of a training without stages
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bitjoule.network import Network
from bitjoule.quant.repairs import RepairSettings, Stage, distribution_loss
from bitjoule.quant.repairs.attention import ATTENTION_WEIGHT, LATE_OUTPUT_WEIGHT
from bitjoule.scheme import RepairError
from bitjoule.train.loss import loss_of
from bitjoule.train.matching import AttentionMatch
from bitjoule.train.recipes import Recipe

__all__ = ["Objective"]

EARLY = 0.5
"""Share of a training without stages in which attention maps are matched [assumed]."""


class Objective:
    """The loss as a function of a batch.

    Raises:
        RepairError: `attention_match` with a teacher that is no Network, or whose blocks do not pair.
    """

    def __init__(
        self,
        net: Network,
        recipe: Recipe,
        settings: RepairSettings,
        teacher: nn.Module | Network | None,
        stage: Stage | None,
    ) -> None:
        self.net, self.recipe, self.teacher = net, recipe, teacher
        self.settings, self.stage = settings, stage
        self.match: AttentionMatch | None = None
        if settings.attention:
            if not isinstance(teacher, Network):
                raise RepairError(
                    f"attention_match reads the blocks of a teacher by name, but it is a "
                    f"{type(teacher).__name__}; capture(teacher, input_shape=...) makes a Network of it"
                )
            self.match = AttentionMatch(net, teacher)
        self.device = next((p.device for p in net.parameters()), torch.device("cpu")).type
        self.narrow = recipe.bf16 and self.device == "cuda"

    def __call__(self, images: Tensor, labels: Tensor, progress: float) -> Tensor:
        """Loss of the student in training mode; `progress` is the share of all steps done, 0 to 1."""
        early = progress < EARLY if self.stage is None else not self.stage.binary_weights
        matched = self.match if early else None
        distance = None
        with self._precision():
            if matched is None:
                logits = self.net(images)
            else:
                logits, distance = matched(images)
            taught = self._taught(images, matched is not None)
        if taught is not None:
            _refuse_shape(taught, logits)
        if self.narrow:
            logits = logits.float()
            taught = None if taught is None else taught.float()
        if not self.settings.labels:
            assert taught is not None
            loss = distribution_loss(logits, taught)
        elif self.match is None:
            loss = loss_of(self.recipe, logits, labels, taught)
        else:
            loss = loss_of(self.recipe, logits, labels)
            if taught is not None:
                loss = loss + LATE_OUTPUT_WEIGHT * distribution_loss(logits, taught)
        return loss if distance is None else loss + ATTENTION_WEIGHT * distance

    def _taught(self, images: Tensor, matching: bool) -> Tensor | None:
        """The teacher's logits where the loss reads them."""
        if self.teacher is None or (matching and self.settings.labels):
            return None
        with torch.no_grad():
            logits: Tensor = self.teacher(images)
        return logits

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """bfloat16 autocast where the recipe asks for it and there is a CUDA device."""
        if not self.narrow:
            yield
            return
        with torch.autocast(self.device, torch.bfloat16):
            yield


def _refuse_shape(taught: Tensor, logits: Tensor) -> None:
    """ValueError unless the teacher gives one logit per image and class: others might broadcast unseen."""
    if not isinstance(taught, Tensor):
        raise ValueError(
            f"train: a teacher returns the logits as one tensor, not a {type(taught).__name__}; wrap it in a "
            "module that does"
        )
    if taught.shape != logits.shape:
        raise ValueError(
            f"train: the teacher gives outputs of shape {tuple(taught.shape)} where the network gives "
            f"{tuple(logits.shape)}; a teacher has the network's classes"
        )
