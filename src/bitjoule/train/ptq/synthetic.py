"""Images made from batch-norm statistics: what a network was trained on, as far as its weights tell.

ZeroQ (Cai et al. 2020, arXiv 2001.00281) makes the mean and deviation of every batch norm's input equal the
stored ones. DSG (Zhang et al. 2021, CVPR) leaves slack, delta, so that images do not all become the mean
image, and lets every image serve one layer more than the others (`ptq.md` section 5.1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from bitjoule.network import Network
from bitjoule.train.ptq.check import image_shape
from bitjoule.train.ptq.config import PtqError

__all__ = ["SyntheticImages", "statistics_term", "synthetic_images"]

_SLACK = 0.9
_REACH = 3.0
_LEAST_RATE = 1e-4
_ENOUGH = 1e-4
"""Share of its first value at which a loss ends the steps: distances are within the slack then, so that
hardly any gradient is left (ResNet-20: 100 of 500 steps)."""


@dataclass(frozen=True)
class SyntheticImages:
    """`images` (N, ...); the loss of the first and the last step, averaged over batches."""

    images: Tensor
    first_loss: float
    last_loss: float


def statistics_term(
    x: Tensor, mean: Tensor, std: Tensor, mean_slack: Tensor | float = 0.0, std_slack: Tensor | float = 0.0
) -> Tensor:
    """Squared distances of mean and population deviation per channel (axis 1) from `mean` and `std`, summed;
    distances within the slack count 0.

    >>> x = torch.tensor([[1.0], [3.0], [5.0], [7.0]])
    >>> round(statistics_term(x, torch.tensor([2.0]), torch.tensor([1.0])).item(), 6)
    5.527864
    """
    m, s = _moments(x)
    away = ((m - mean).abs() - mean_slack).clamp_min(0).square().sum()
    return away + ((s - std).abs() - std_slack).clamp_min(0).square().sum()


def synthetic_images(
    net: Network,
    count: int = 64,
    *,
    batch: int = 32,
    steps: int = 500,
    seed: int = 0,
    method: Literal["dsg", "zeroq"] = "dsg",
    progress: Callable[[str], object] | None = None,
) -> SyntheticImages:
    """Images for calibration in normalised input units, from a float network with its batch norms unfolded.

    A batch ends after `steps` steps of Adam, or when its loss is 1e-4 of the first.

    Raises:
        PtqError: the network has no batch norm with statistics.
    """
    norms = [
        m
        for m in net.module.modules()
        if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) and m.running_mean is not None
    ]
    if not norms:
        first = next((node.name for node in net.graph.mac_nodes()), net.name)
        raise PtqError(
            f"data-free needs BatchNorm statistics: layer {first!r} has none; give calibration images"
        )
    generator = torch.Generator().manual_seed(seed)
    made: list[Tensor] = []
    first_losses: list[float] = []
    last_losses: list[float] = []
    done = 0
    frozen = net.clone().eval()
    if len(image_shape(net)) == 3:
        frozen = frozen.to(memory_format=torch.channels_last)
    for parameter in frozen.parameters():
        parameter.requires_grad_(False)
    while done < count:
        size = min(batch, count - done)
        x, first_loss, last_loss = _one_batch(frozen, size, steps, generator, method)
        if progress is not None:
            progress(f"synthetic images: {done + size} of {count}, loss {last_loss:.3g}")
        made.append(x)
        done += size
        first_losses.append(first_loss)
        last_losses.append(last_loss)
    mean = [sum(v) / len(v) for v in (first_losses, last_losses)]
    return SyntheticImages(torch.cat(made), mean[0], mean[1])


def _one_batch(
    net: Network, size: int, steps: int, generator: torch.Generator, method: str
) -> tuple[Tensor, float, float]:
    seen: list[tuple[nn.BatchNorm1d | nn.BatchNorm2d, Tensor]] = []

    def keep(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)
        if module.running_mean is not None:
            seen.append((module, inputs[0]))

    norms = [m for m in net.module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    handles = [m.register_forward_pre_hook(keep) for m in norms]
    try:
        with torch.enable_grad():
            x = torch.randn((size, *image_shape(net)), generator=generator)
            if x.dim() == 4:
                x = x.contiguous(memory_format=torch.channels_last)
            x.requires_grad_(True)
            slack = _slacks(net, x, seen) if method == "dsg" else []
            optimizer = torch.optim.Adam([x], lr=0.5)
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=100, min_lr=_LEAST_RATE)
            first = last = 0.0
            zero, one = torch.zeros(x.shape[1]), torch.ones(x.shape[1])
            for step in range(steps):
                seen.clear()
                net(x)
                loss = statistics_term(x, zero, one)
                for layer, (norm, values) in enumerate(seen):
                    loss = loss + _term(norm, values, slack[layer] if slack else (0.0, 0.0))
                    own = values[layer % len(seen) :: len(seen)]
                    if slack and len(own):
                        loss = loss + _term(norm, own, slack[layer]) / len(seen)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                last = float(loss.detach())
                schedule.step(last)
                first = last if step == 0 else first
                with torch.no_grad():
                    x.clamp_(-_REACH, _REACH)
                if last <= _ENOUGH * first:
                    break
    finally:
        for handle in handles:
            handle.remove()
    return x.detach(), first, last


def _slacks(
    net: Network, x: Tensor, seen: list[tuple[nn.BatchNorm1d | nn.BatchNorm2d, Tensor]]
) -> list[tuple[Tensor | float, Tensor | float]]:
    """The 0.9 quantile over channels of the distances that plain noise has, of each layer."""
    found: list[tuple[Tensor | float, Tensor | float]] = []
    with torch.no_grad():
        seen.clear()
        net(x)
        for norm, values in seen:
            m, s = _moments(values)
            mean, std = _stored(norm)
            found.append(((m - mean).abs().quantile(_SLACK), (s - std).abs().quantile(_SLACK)))
    return found


def _term(
    norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor, slack: tuple[Tensor | float, Tensor | float]
) -> Tensor:
    return statistics_term(x, *_stored(norm), *slack)


def _stored(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.running_mean, (norm.running_var + norm.eps).sqrt()


class _Moments(torch.autograd.Function):
    """Mean and population deviation per channel (axis 1) with the gradient written out: one pass over x each
    way, where a graph of elementary operators takes ten."""

    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor) -> tuple[Tensor, Tensor]:
        rest = [i for i in range(x.dim()) if i != 1]
        m = x.mean(rest)
        s = ((x - m.view(_along(x))).square_().mean(rest) + 1e-12).sqrt()
        ctx.save_for_backward(x, m, s)
        return m, s

    @staticmethod
    def backward(ctx: Any, by_m: Tensor, by_s: Tensor) -> Tensor:
        x, m, s = ctx.saved_tensors
        count = x.numel() // x.shape[1]
        slope = by_s / (s * count)
        return torch.addcmul((by_m / count - slope * m).view(_along(x)), x, slope.view(_along(x)))


def _along(x: Tensor) -> list[int]:
    return [1, -1, *[1] * (x.dim() - 2)]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    m, s = _Moments.apply(x)  # type: ignore[no-untyped-call]
    return m, s
