"""The optimizers of a training: one for the network, and one each for what is trained in another way.

network      SGD or Adam of the recipe; parameters of quantizers too, in groups of their own
quantizers   Adam, where `quantizer_optimizer` asks for it and the network has another
thresholds   Adam on log2 t of TQT at its own rate, where `threshold_lr` is set
flips        Bop on one-bit weights, under the repair `bop`
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitjoule.network import Network
from bitjoule.quant.repairs import Bop
from bitjoule.train.checkpoint import Checkpoint, optimizer_tensors, restore_optimizer
from bitjoule.train.parameters import (
    adam_over,
    binary_weights,
    optimizer_over,
    parameter_groups,
    thresholds,
)
from bitjoule.train.recipes import Recipe
from bitjoule.train.schedule import threshold_rate

__all__ = ["Optimizers"]

SECTION = "optimizer"
"""Section of a checkpoint with the network's optimizer; those of the others are `optimizer-NAME`."""


class Optimizers:
    """All optimizers of one network; together they train every parameter once.

    `network` is the one that trains the weights that quantizers follow. `flips`: whether one-bit weights are
    trained by Bop; they are set to their sign here.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> net = capture(zoo.tfc(inputs=64), input_shape=(1, 1, 8, 8))
    >>> Optimizers(net, Recipe(epochs=1), flips=False).others
    {}
    """

    def __init__(self, net: Network, recipe: Recipe, *, flips: bool) -> None:
        self.recipe = recipe
        self.others: dict[str, torch.optim.Optimizer] = {}
        flipped = binary_weights(net) if flips else []
        own_rate = thresholds(net) if recipe.threshold_lr is not None else []
        main, learned = parameter_groups(net, recipe, [*flipped, *own_rate])
        apart = recipe.quantizer_optimizer == "adam" and recipe.optimizer != "adam"
        self.network = optimizer_over(main if apart else main + learned, recipe)
        if apart and learned:
            self.others["quantizers"] = adam_over(learned, recipe.rate)
        if own_rate:
            self.others["thresholds"] = adam_over([{"params": own_rate}], recipe.threshold_lr or 0.0)
        if flipped:
            self.others["flips"] = Bop(flipped)
        flipped_ids = {id(weight) for weight in flipped}
        self.clipped = [p for p in net.parameters() if id(p) not in flipped_ids]
        """Parameters whose gradient has its norm clipped: all but those that flip."""

    def set_rates(self, rate: float, step: int) -> None:
        """The rates of step `step`, `rate` being that of the recipe's schedule; Bop's gamma follows it."""
        for name, optimizer in (("network", self.network), *self.others.items()):
            for group in optimizer.param_groups:
                if name == "flips":
                    group["gamma"] = optimizer.defaults["gamma"] * min(1.0, rate / self.recipe.rate)
                elif name == "thresholds":
                    group["lr"] = threshold_rate(self.recipe.threshold_lr or 0.0, step)
                else:
                    group["lr"] = rate * group["scale"]

    def step(self, loss: Tensor) -> None:
        """Gradients of `loss`, their norm clipped as the recipe says, and one step of every optimizer."""
        every = (self.network, *self.others.values())
        for optimizer in every:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.clipped, self.recipe.clip_norm)
        for optimizer in every:
            optimizer.step()

    def sections(self) -> dict[str, dict[str, Tensor]]:
        """Their states as sections of a checkpoint."""
        found = {SECTION: optimizer_tensors(self.network)}
        found.update({f"{SECTION}-{name}": optimizer_tensors(o) for name, o in self.others.items()})
        return found

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put back what `sections` gave."""
        restore_optimizer(self.network, checkpoint.section(SECTION))
        for name, optimizer in self.others.items():
            restore_optimizer(optimizer, checkpoint.section(f"{SECTION}-{name}"))
