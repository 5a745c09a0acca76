"""Weights that flip between two levels, and two remedies (Nagel et al. 2022, arXiv 2203.11086).

Per integer weight q, momentum m = 0.01, after every step:

    d = sign(prev - q);  o = (d * last_direction == -1);  f = m o + (1 - m) f
    last_direction = d where d != 0;  prev = q;  e = m q + (1 - m) e      (e starts at the first q)

Freezing: where f exceeds a threshold, the integer becomes R(e) for good, e before this step's update. The
threshold follows a cosine from 0.1 to 0.01 (4 bits) or 0.011 (3 bits and fewer). Dampening: the loss gains
lambda sum (w_q - clip(w, n s, p s))^2, w_q detached, lambda from 0 to 0.1 on a cosine
(Qualcomm-AI-research/oscillations-qat).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.quant.config import QuantizerConfig, QuantizerError, Role
from bitjoule.quant.uniform import Bounds, grid_, quotient, scale_axis

__all__ = ["OscillatingWeights", "Oscillation", "cosine", "dampening", "freeze_threshold", "track"]

MOMENTUM = 0.01
KEPT = ("previous", "direction", "frequency", "average", "level")
MOST_BITS = 4
FIRST_THRESHOLD = 0.1
LAST_THRESHOLD = {4: 0.01}
LAST_THRESHOLD_NARROWER = 0.011
LAST_LAMBDA = 0.1


@dataclass(frozen=True)
class Oscillation:
    """What is remembered of each integer weight: its last value, the direction of its last flip, the
    frequency f of oscillations and the average e of its values.
    """

    previous: Tensor
    direction: Tensor
    frequency: Tensor
    average: Tensor

    @classmethod
    def of(cls, q: Tensor) -> Oscillation:
        """The start: no flip yet, the average at `q`."""
        return cls(q.clone(), torch.zeros_like(q), torch.zeros_like(q), q.clone())


def track(state: Oscillation, q: Tensor, momentum: float = MOMENTUM) -> Oscillation:
    """One step with the integers `q` (as floats).

    >>> first = Oscillation.of(torch.tensor([2.0]))
    >>> second = track(track(first, torch.tensor([3.0]), 0.1), torch.tensor([2.0]), 0.1)
    >>> round(second.frequency.item(), 6), round(second.average.item(), 6)
    (0.1, 2.09)
    """
    d = torch.sign(state.previous - q)
    oscillated = (d * state.direction == -1).to(q.dtype)
    return Oscillation(
        q.clone(),
        torch.where(d != 0, d, state.direction),
        momentum * oscillated + (1 - momentum) * state.frequency,
        momentum * q + (1 - momentum) * state.average,
    )


def cosine(first: float, last: float, progress: float) -> float:
    """From `first` to `last` on half a cosine, `progress` from 0 to 1.

    >>> cosine(0.0, 1.0, 0.5)
    0.5
    """
    return last + (first - last) * (1 + math.cos(math.pi * min(1.0, max(0.0, progress)))) / 2


def freeze_threshold(bits: int, progress: float) -> float:
    """The frequency above which a weight is frozen.

    >>> freeze_threshold(4, 0.0), freeze_threshold(4, 1.0), freeze_threshold(3, 1.0)
    (0.1, 0.01, 0.011)
    """
    return cosine(FIRST_THRESHOLD, LAST_THRESHOLD.get(bits, LAST_THRESHOLD_NARROWER), progress)


def dampening(weight: Tensor, scale: Tensor, bounds: Bounds, axis: int) -> Tensor:
    """sum (w_q - clip(w, n s, p s))^2, with the gradient of w inside the range only; w_q and s detached."""
    s = scale_axis(scale.detach(), weight.dim(), axis)
    levels = grid_(quotient(weight.detach(), s), bounds.low, bounds.high) * s
    return (levels - torch.clamp(weight, bounds.low * s, bounds.high * s)).square().sum()


class OscillatingWeights:
    """What a quantizer with uniform levels adds to freeze or to dampen its weights; mixed into one.

    The state is in buffers `oscillation_*` of the weight's shape, made when the range is found.
    """

    config: QuantizerConfig
    name: str
    role: Role
    bounds: Bounds
    axis: int

    def setup_oscillations(self) -> None:
        """Refuse more than 4 bits; make the buffers empty."""
        if not self.holds_oscillations:
            return
        bits = self.tensor_format.format.bits  # type: ignore[attr-defined]
        if bits > MOST_BITS:
            raise QuantizerError(
                f"{self.name}: freeze_oscillations and dampen_oscillations are for weights of at most "
                f"{MOST_BITS} bits, not {bits}"
            )
        self.bits = bits
        if self.config.freeze_oscillations:
            for key in KEPT:
                self._buffer(key, torch.zeros(0))
            self._buffer("frozen", torch.zeros(0, dtype=torch.bool))

    @property
    def follows_training(self) -> bool:
        """Whether a training loop has to call `after_step` and `penalty`."""
        return self.holds_oscillations

    @property
    def holds_oscillations(self) -> bool:
        """Whether this quantizer freezes or dampens."""
        return self.config.freeze_oscillations or self.config.dampen_oscillations

    def _buffer(self, key: str, value: Tensor) -> None:
        module: nn.Module = self  # type: ignore[assignment]
        module.register_buffer(f"oscillation_{key}", value)

    def _kept(self, key: str) -> Tensor:
        found: Tensor = getattr(self, f"oscillation_{key}")
        return found

    @torch.no_grad()
    def after_step(self, weight: Tensor | None, optimizer: torch.optim.Optimizer, progress: float) -> None:
        """Track the integers of `weight`, freeze what flips too often and put frozen weights back."""
        if weight is None or not self.config.freeze_oscillations:
            return
        s = scale_axis(self.scale_now(), weight.dim(), self.axis)  # type: ignore[attr-defined]
        q = grid_(quotient(weight, s), self.bounds.low, self.bounds.high)
        frozen = self._kept("frozen")
        if frozen.numel() == 0:
            self._remember(Oscillation.of(q), q, torch.zeros_like(q, dtype=torch.bool))
            return
        old = Oscillation(*(self._kept(key) for key in KEPT[:4]))
        level = self._kept("level")
        new = track(old, torch.where(frozen, level, q))
        found = ~frozen & (new.frequency > freeze_threshold(self.bits, progress))
        level = torch.where(found, old.average.round(), level)
        frozen = frozen | found
        self._remember(new, level, frozen)
        weight.copy_(torch.where(frozen, level * s, weight))

    def _remember(self, state: Oscillation, level: Tensor, frozen: Tensor) -> None:
        for key, value in (*vars(state).items(), ("level", level), ("frozen", frozen)):
            self._buffer(key, value)

    def penalty(self, weight: Tensor | None, progress: float) -> Tensor | None:
        """lambda times the dampening of `weight`."""
        if weight is None or not self.config.dampen_oscillations:
            return None
        strength = cosine(0.0, LAST_LAMBDA, progress)
        return strength * dampening(weight, self.scale_now(), self.bounds, self.axis)  # type: ignore[attr-defined]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        if self.config.freeze_oscillations:
            for key in (*KEPT, "frozen"):
                saved = state_dict.get(f"{prefix}oscillation_{key}")
                if saved is not None:
                    self._buffer(key, torch.empty_like(saved))
        super()._load_from_state_dict(state_dict, prefix, *rest)  # type: ignore[misc]
