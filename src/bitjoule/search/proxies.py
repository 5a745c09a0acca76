"""Proxies of energy that people use instead of it, and how badly they mislead.

| proxy | formula over the MAC layers l of a Workload |
|---|---|
| macs | sum MACs |
| bops | sum MACs b_w b_a |
| ace | the same sum (arithmetic computation effort, Zhang et al. 2022, PokeBNN) |
| aqt_compute | bops / 256: relative to bf16 (8/8 counts 0.25) |
| model_bits | sum of stored weight bits: N:M survivors and their places, scales of groups and blocks too |
| activation_bits | sum of output bits |
| peak_activation_bits | greatest input bits + output bits of one layer |
| cpu64 | sum MACs max(b_w, b_a) / 64 |
| params | number of weights |

Floating-point formats count with their storage bits. Judgement over trials: Spearman's rho with average
ranks, Kendall's tau-b, and the regret of choosing by the proxy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bitjoule.search.pareto import Point, front

__all__ = ["PROXIES", "Regret", "kendall", "proxies", "regret", "spearman"]

PROXIES = (
    *("macs", "bops", "ace", "aqt_compute", "model_bits"),
    *("activation_bits", "peak_activation_bits", "cpu64", "params"),
)


class CountedLayer(Protocol):
    """What a proxy reads of a workload Layer."""

    @property
    def macs(self) -> int: ...
    @property
    def stored_weight(self) -> str: ...
    @property
    def weight_elements(self) -> int: ...
    @property
    def input_elements(self) -> int: ...
    @property
    def output_elements(self) -> int: ...
    @property
    def weight_bits(self) -> int: ...
    @property
    def weight_storage_bits(self) -> int: ...
    @property
    def input_bits(self) -> int: ...
    @property
    def output_bits(self) -> int: ...


@dataclass(frozen=True)
class Regret:
    """Energy of what the proxy chooses over the least energy, per target accuracy; 1 is no regret."""

    targets: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def max(self) -> float:
        """Worst regret over the targets."""
        return max(self.values)

    @property
    def median(self) -> float:
        """Median regret over the targets."""
        return float(np.median(self.values))


def proxies(layers: Sequence[CountedLayer]) -> dict[str, float]:
    """Every proxy of the table above, for the MAC layers of one workload (`workload.layers`).

    Work counts for every layer, storage once: layers of one `stored_weight` read the same words.

    >>> proxies([])["bops"]
    0
    """
    stored = {layer.stored_weight: layer for layer in layers}.values()
    bops = sum(layer.macs * layer.weight_bits * layer.input_bits for layer in layers)
    return {
        "macs": sum(layer.macs for layer in layers),
        "bops": bops,
        "ace": bops,
        "aqt_compute": bops / 256,
        "model_bits": sum(layer.weight_storage_bits for layer in stored),
        "activation_bits": sum(layer.output_elements * layer.output_bits for layer in layers),
        "peak_activation_bits": max(
            (
                layer.input_elements * layer.input_bits + layer.output_elements * layer.output_bits
                for layer in layers
            ),
            default=0,
        ),
        "cpu64": sum(layer.macs * max(layer.weight_bits, layer.input_bits) for layer in layers) / 64,
        "params": sum(layer.weight_elements for layer in stored),
    }


def spearman(proxy: Sequence[float], energy_pj: Sequence[float]) -> float:
    """Spearman's rho with average ranks; NaN when one side is constant or has fewer than two values.

    >>> round(spearman([4, 5, 3, 9, 8, 7], [10, 14, 18, 25, 40, 33]), 4)
    0.6571
    """
    if _undefined(proxy, energy_pj):
        return math.nan
    from scipy.stats import spearmanr

    return float(spearmanr(proxy, energy_pj).statistic)


def kendall(proxy: Sequence[float], energy_pj: Sequence[float]) -> float:
    """Kendall's tau-b; NaN when one side is constant or has fewer than two values.

    >>> round(kendall([4, 5, 3, 9, 8, 7], [10, 14, 18, 25, 40, 33]), 4)
    0.4667
    """
    if _undefined(proxy, energy_pj):
        return math.nan
    from scipy.stats import kendalltau

    return float(kendalltau(proxy, energy_pj).statistic)


def regret(points: Sequence[Point], proxy: Sequence[float], targets: Sequence[float] | None = None) -> Regret:
    """What it costs to choose by the proxy, at each target accuracy (default: those of the true front).

    Among points with accuracy >= target the one of least proxy is taken, of ties the most expensive; regret
    is its energy over the least energy among them.

    >>> regret([(10.0, 0.6), (18.0, 0.6)], [4, 3]).values
    (1.8,)
    """
    if len(points) != len(proxy):
        raise ValueError(f"regret needs one proxy per point: {len(points)} points, {len(proxy)} proxies")
    if not points:
        raise ValueError("regret needs at least one point")
    if targets is None:
        targets = [points[index][1] for index in front(points)]
    values = []
    for target in targets:
        able = [
            (value, -energy)
            for (energy, accuracy), value in zip(points, proxy, strict=True)
            if accuracy >= target
        ]
        if not able:
            greatest = max(accuracy for _, accuracy in points)
            raise ValueError(f"no point reaches accuracy {target}; the greatest is {greatest}")
        values.append(-min(able)[1] / min(-negated for _, negated in able))
    return Regret(tuple(targets), tuple(values))


def _undefined(first: Sequence[float], second: Sequence[float]) -> bool:
    if len(first) != len(second):
        raise ValueError(f"a correlation needs pairs: {len(first)} proxies, {len(second)} energies")
    return len(set(first)) < 2 or len(set(second)) < 2
