"""Cross-layer equalization: scale channels so that consecutive layers have like ranges per channel.

For a pair (l1, l2), r1_i = max |W1 row i|, r2_i = max |W2 column i|, s_i = sqrt(r1_i / r2_i):
W1_i /= s_i, b1_i /= s_i, W2_:i *= s_i; both ranges become sqrt(r1_i r2_i) and the function stays (Nagel 2019,
arXiv 1906.04721, section 4.1; ptq.md section 2). Depthwise triples follow by sweeping their two pairs: all
three ranges become their geometric mean.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bitjoule.network.consecutive import (
    Pair,
    as_double,
    columns,
    editable_layers,
    marked,
    pairs,
    refuse_quantized,
    rows,
    scaled_columns,
    scaled_rows,
    written,
)
from bitjoule.network.network import Network, NetworkError
from bitjoule.network.relu6 import Relu6Mode, channel_clip, convert_relu6
from bitjoule.network.statistics import EdgeStatistics, record, recorded

__all__ = ["SWEEPS", "equalize", "pair_scales"]

SWEEPS = 20
SETTLED = 1e-4
"""Sweeps end when no scale differs from 1 by more."""

BIAS_GUARD = 8.0
"""A channel stays when its bias would exceed this many times the widest range that any channel gets: biases
matter beside the range of the tensor, not of their own channel [assumed; ptq.md section 2]."""

LEAST_SCALE, GREATEST_SCALE = 1e-8, 1e8


def pair_scales(first: Tensor, second: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """(s, guarded) per channel from ranges r1, r2 and |b1|, each of shape (channels,).

    s = sqrt(r1 / r2), 1 where a range is 0 (a dead channel). `guarded` says where s is greater, since the
    bias would exceed BIAS_GUARD times the widest range w that channels get: then |b1| / s is that limit,
    unless column i of the second layer would become wider than w. Whatever scales a channel came with, the
    pair ends the same: keeping s = 1 there (ptq.md section 2) would leave ranges apart that came apart.

    >>> r1, r2 = torch.tensor([8.0, 0.5, 0.0, 1.0]), torch.tensor([0.5, 2.0, 3.0, 4.0])
    >>> pair_scales(r1, r2, torch.tensor([1.0, 2.0, 3.0, 0.5]))[0]
    tensor([4.0000, 0.5000, 1.0000, 0.5000])
    """
    alive = (first > 0) & (second > 0)
    column = torch.where(alive, second, 1.0)
    even = torch.where(alive, first / column, 1.0).sqrt()
    widest = torch.where(alive, (first * second).sqrt(), 0.0).amax() if len(first) else first.sum()
    least = torch.minimum(bias / (BIAS_GUARD * widest), widest / column)
    guarded = alive & (least > even * (1 + 1e-6))
    return torch.where(guarded, least, even).clamp(LEAST_SCALE, GREATEST_SCALE), guarded


def equalize(net: Network, *, sweeps: int = SWEEPS, relu6: Relu6Mode = "keep") -> Network:
    """A new Network with the same function and like ranges in consecutive layers.

    Sweeps over all pairs in running order until no scale moves, or `sweeps` times. `relu6`: "keep" leaves
    pairs with a ReLU6 between alone; "relu" replaces it in pairs (the function changes above 6);
    "per_channel" gives it limits of 6 / s. Fold batch norm before: it ends a pair. `notes` say what was done
    and what stayed.

    Raises:
        NetworkError: quantizers were inserted already, weights that are not finite, sweeps < 0.
    """
    refuse_quantized(net, "equalize")
    if sweeps < 0:
        raise NetworkError(f"sweeps must be >= 0, not {sweeps}")
    layers, _ = editable_layers(net)
    also = frozenset() if relu6 == "keep" else frozenset({"relu6"})
    chosen, stopped = pairs(net.graph, layers, also)
    clipped = frozenset(_clips(net, chosen))
    clone = convert_relu6(net, relu6, clipped) if clipped else net.clone()
    layers, _ = editable_layers(clone)
    calls = marked(clone)
    values = {name: as_double(layer) for name, layer in layers.items()}
    for name, (weight, bias) in values.items():
        if not (torch.isfinite(weight).all() and torch.isfinite(bias).all()):
            raise NetworkError(f"{net.name}: weights of {name!r} are not finite")
    total = {pair.first: torch.ones(values[pair.first][0].shape[0], dtype=torch.float64) for pair in chosen}
    guarded: dict[str, int] = {}
    done, moved = 0, 0.0
    while done < sweeps:
        done, moved = done + 1, 0.0
        for pair in chosen:
            (first, bias), (second, second_bias) = values[pair.first], values[pair.second]
            target = layers[pair.second]
            scale, kept = pair_scales(rows(first), columns(target, second, pair.repeat), bias.abs())
            guarded[pair.first] = int(kept.sum())
            values[pair.first] = scaled_rows(first, 1 / scale), bias / scale
            values[pair.second] = scaled_columns(target, second, scale, pair.repeat), second_bias
            total[pair.first] *= scale
            moved = max(moved, float((scale - 1).abs().max()))
        if moved < SETTLED:
            break
    for name in {name for pair in chosen for name in (pair.first, pair.second)}:
        layer = layers[name]
        layer.weight = written(values[name][0], layer.weight)
        if layer.bias is not None:
            layer.bias = written(values[name][1], layer.bias)
    for pair in chosen:
        scale = total[pair.first]
        known = recorded(calls[pair.first])
        if known is not None:
            record(calls[pair.first], EdgeStatistics(_divided(known.mean, scale), _divided(known.std, scale)))
        for name in pair.between:
            clip = channel_clip(clone, calls[name])
            if clip is not None:
                clip.limit = _divided(clip.limit, scale)
    notes = [_summary(chosen, done if chosen and sweeps else 0, moved)]
    notes += [
        f"equalization held {count} channels of {name!r} back: their bias would exceed {BIAS_GUARD:g} ranges"
        for name, count in guarded.items()
        if count
    ]
    notes += [
        f"equalization left {name!r}: {reason}" for name, reason in stopped.items() if "relu6" in reason
    ]
    return Network(clone.graph, clone.module, notes=(*net.notes, *notes))


def _clips(net: Network, chosen: tuple[Pair, ...]) -> list[str]:
    return [name for pair in chosen for name in pair.between if net.graph.node(name).op == "relu6"]


def _divided(values: Tensor, scale: Tensor) -> Tensor:
    return (values.double() / scale.to(values.device)).to(values.dtype)


def _summary(chosen: tuple[Pair, ...], done: int, moved: float) -> str:
    if not chosen:
        return "equalization found no pair of consecutive layers"
    state = "settled" if moved < SETTLED else f"not settled, greatest change {moved:.2g}"
    return f"equalized {len(chosen)} pairs in {done} sweeps, {state}"
