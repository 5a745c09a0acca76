"""Graph surgery before quantization, in its fixed order: fold, prune, equalize, absorb, split, biases."""

from __future__ import annotations

import dataclasses
import re

from torch import Tensor, nn

from bitjoule.network import Network, NetworkError, fold_batch_norm
from bitjoule.network.absorb import absorb_bias
from bitjoule.network.equalize import equalize
from bitjoule.network.pruning import prune_channels
from bitjoule.network.split import split_outliers
from bitjoule.scheme import Scheme
from bitjoule.train.ptq.config import PtqConfig, PtqError
from bitjoule.train.ptq.cut_channels import cut_by_data
from bitjoule.train.ptq.place import with_biases
from bitjoule.workload import assign
from bitjoule.workload.sparsity import parse_sparsity

__all__ = ["gains_from_equalization", "prepared", "pruned_scheme", "uneven"]

_NARROW_BITS = 6
_UNEVEN = 32.0
_BLOCKS = re.compile(r"[0-9]+:[0-9]+")


def prepared(net: Network, scheme: Scheme, config: PtqConfig, images: Tensor | None = None) -> Network:
    """The float network that is quantized: batch norm folded and what else `config` asks for.

    With `images`, channels are pruned by what they do on them.
    """
    folded = fold_batch_norm(_pruned(net, config, images))
    if config.equalize and gains_from_equalization(folded, scheme, config):
        folded = equalize(folded, sweeps=config.equalize, relu6=config.relu6)
        if config.absorb_bias != "none":
            folded = absorb_bias(folded, config.absorb_bias)
    if config.split_ratio:
        bits = min((tf.format.bits for tf in assign(folded.graph, scheme).weights.values()), default=8)
        folded = split_outliers(folded, config.split_ratio, bits=bits)
    return with_biases(folded) if config.bias_correction != "none" else folded


def gains_from_equalization(net: Network, scheme: Scheme, config: PtqConfig) -> bool:
    """Whether ranges of channels matter: weights with a scale per tensor, depthwise layers, few bits.

    Weights with a scale per channel do not gain: equalizing moves their scales alone. Levels that are no
    integers (powers of two ...) are left as they are.
    """
    if config.equalize_always:
        return True
    if uneven(net):
        return True
    assignment = assign(net.graph, scheme)
    weights = assignment.weights.values()
    if any(tf.format.kind != "integer" for tf in weights):
        return False
    if config.per_tensor or any(tf.scaling.granularity == "tensor" for tf in weights):
        return True
    for node in net.graph.nodes:
        groups = node.attributes.get("groups", 1)
        if node.op == "conv" and groups != 1 and groups == node.attributes["in_channels"]:
            return True
    narrow = any(point.format.format.bits <= _NARROW_BITS for point in assignment.points)
    return narrow and config.equalize_narrow


def uneven(net: Network) -> bool:
    """Whether some layer has output channels of very different ranges.

    The 80 % quantile of their largest weights is above 32 times the 20 % quantile: their activations share a
    scale badly then, whatever the weights do.
    """
    for module in net.module.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            ranges = module.weight.detach().flatten(1).abs().amax(1)
            alive = ranges[ranges > 0]
            if len(alive) and float(alive.quantile(0.8)) > _UNEVEN * float(alive.quantile(0.2)):
                return True
    return False


def pruned_scheme(scheme: Scheme, config: PtqConfig) -> Scheme:
    """`scheme` with the N:M pruning that `config` asks for.

    >>> from bitjoule.scheme import parse_scheme
    >>> str(pruned_scheme(parse_scheme("w4a4"), PtqConfig(prune="2:4")))
    'w4a4[prune=2:4]'
    """
    if config.prune is None or _BLOCKS.fullmatch(config.prune) is None:
        return scheme
    try:
        rule = parse_sparsity(config.prune)
    except ValueError as error:
        raise PtqError(f"ptq: prune: {error}") from None
    return dataclasses.replace(scheme, prune=(rule.kept, rule.block))


def _pruned(net: Network, config: PtqConfig, images: Tensor | None) -> Network:
    rule = config.prune
    if rule is None or _BLOCKS.fullmatch(rule):
        return net
    kind, colon, share = rule.partition(":")
    if kind == "channels" and colon:
        try:
            ratio = float(share)
        except ValueError:
            raise PtqError(f"ptq: prune=channels:SHARE takes a share such as 0.3, not {share!r}") from None
        try:
            if images is not None:
                return cut_by_data(fold_batch_norm(net), ratio, images, config.batch_size)
            return prune_channels(net, ratio).eval()
        except NetworkError as error:
            raise PtqError(f"ptq: prune={rule}: {error}") from None
    raise PtqError(
        f"ptq: prune must be none, N:M such as 2:4 (of every 4 weights 2 stay) or channels:0.3, not {rule!r}"
    )
