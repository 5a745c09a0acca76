"""Masks put between weights and their quantizers in a quantized Network: prune first, then quantize."""

from __future__ import annotations

from torch import Tensor, fx

from bitjoule.network import Network
from bitjoule.network.graph_writer import MARK
from bitjoule.network.surgery import QUANTIZERS
from bitjoule.quant.config import Method, QuantizerError
from bitjoule.quant.fake_quantizer import FakeQuantizer
from bitjoule.quant.pruning.mask import NMMask
from bitjoule.workload.sparsity import SparseLayers, Sparsity

__all__ = ["METHODS", "first_values", "insert_masks", "mask_of", "masked", "parameter_node", "weight_values"]

METHODS: tuple[Method, ...] = ("ste", "moons", "lsq", "lsq+", "tqt", "twn", "deepshift_q", "float_cast")
"""Methods under which a masked weight stays 0. The others shift weights, replace them, or hold them at levels
chosen before.
"""

SCALED: tuple[Method, ...] = ("ste", "lsq", "lsq+", "tqt")
"""Methods whose scale starts from statistics of the weights: of the survivors."""


def insert_masks(net: Network, sparse: SparseLayers) -> Network:
    """`net`, edited in place: weights of `sparse.pruned` pass a mask before their quantizer. Its notes say
    which layers stay dense.

    Raises:
        QuantizerError: the method of a pruned weight moves its zeros.
    """
    notes = list(sparse.notes())
    for node in list(net.module.graph.nodes):
        found = _weight_quantizer(net, node)
        if found is None:
            continue
        layers = [user.meta[MARK] for user in node.users]
        rules = {sparse.pruned.get(name) for name in layers}
        rule = rules.pop() if len(rules) == 1 else None
        if rule is None:
            continue
        source = node.args[0]
        if not isinstance(source, fx.Node) or source.op != "get_attr":
            notes.append(f"not pruned, because it reads a part of a parameter: {', '.join(layers)}")
            continue
        if found.method not in METHODS:
            raise QuantizerError(
                f"{found.name}: {found.method} does not keep masked weights at 0, so prune={rule} cannot "
                f"train with it; use one of {', '.join(METHODS)}"
            )
        _insert(net, node, source, rule)
    net.module.graph.lint()
    net.module.recompile()
    net.notes = (*net.notes, *notes)
    return net


def _weight_quantizer(net: Network, node: fx.Node) -> FakeQuantizer | None:
    if node.op != "call_module" or not str(node.target).startswith(f"{QUANTIZERS}."):
        return None
    module = net.module.get_submodule(str(node.target))
    return module if isinstance(module, FakeQuantizer) and module.role == "weight" else None


def _insert(net: Network, quantizer: fx.Node, source: fx.Node, rule: Sparsity) -> None:
    owner, _, name = str(source.target).rpartition(".")
    weight: Tensor = getattr(net.module.get_submodule(owner), name)
    key = f"{str(quantizer.target).removeprefix(f'{QUANTIZERS}.')}_mask"
    mask = NMMask(rule, tuple(weight.shape)).to(weight.device)
    mask.parameter = str(source.target)
    mask.update(weight)
    net.module.get_submodule(QUANTIZERS).add_module(key, mask.train(net.training))
    with net.module.graph.inserting_before(quantizer):
        made = net.module.graph.call_module(f"{QUANTIZERS}.{key}", (source,))
    quantizer.update_arg(0, made)


def parameter_node(net: Network, source: object) -> object:
    """What a weight quantizer reads, looked at through its mask."""
    if not isinstance(source, fx.Node) or source.op != "call_module":
        return source
    module = net.module.get_submodule(str(source.target))
    return source.args[0] if isinstance(module, NMMask) else source


def mask_of(net: Network, path: str) -> NMMask | None:
    """The mask before the weight quantizer at `path` (`quantizers.conv1_weight`), None for dense weights."""
    module = dict(net.module.get_submodule(QUANTIZERS).named_children()).get(
        f"{path.removeprefix(f'{QUANTIZERS}.')}_mask"
    )
    return module if isinstance(module, NMMask) else None


def masked(mask: NMMask | None, weight: Tensor) -> Tensor:
    """`weight` as its quantizer reads it."""
    return weight if mask is None else mask(weight)


def weight_values(net: Network) -> list[tuple[FakeQuantizer, Tensor]]:
    """Every weight quantizer that reads a whole parameter, with what it reads."""
    found = []
    for node in net.module.graph.nodes:
        quantizer = _weight_quantizer(net, node)
        source = None if quantizer is None else parameter_node(net, node.args[0])
        if quantizer is None or not isinstance(source, fx.Node) or source.op != "get_attr":
            continue
        owner, _, name = str(source.target).rpartition(".")
        weight: Tensor = getattr(net.module.get_submodule(owner), name)
        found.append((quantizer, masked(mask_of(net, str(node.target)), weight)))
    return found


def first_values(quantizer: FakeQuantizer, mask: NMMask | None, weight: Tensor) -> Tensor:
    """What a weight quantizer is initialized from: the survivors, for methods that take a scale from them."""
    if mask is None:
        return weight
    return mask.survivors(weight) if quantizer.method in SCALED else mask(weight)
