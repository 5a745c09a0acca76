"""The captured graph run on two networks at once: the float one, and the one quantized so far.

Every activation is held for all calibration images, batch by batch, until its last reader has run: those of
the quantized network as levels where a quantizer made them (`held.py`), the others as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from bitjoule.network import Network
from bitjoule.network.surgery import QUANTIZERS
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.pruning import NMMask, parameter_node
from bitjoule.train.ptq.held import HeldBatches, byte_grid, release
from bitjoule.train.ptq.memory import OutOfMemory, is_out_of_memory

__all__ = ["Batches", "Trace", "mask_at", "quantizer_of", "run_node", "weight_readers"]

Batches = Sequence[Any]
"""One activation of all images, batch by batch."""


def run_node(module: fx.GraphModule, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """What one node of the graph computes."""
    match node.op:
        case "call_module":
            return module.get_submodule(str(node.target))(*args, **kwargs)
        case "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        case _:
            assert callable(node.target)
            return node.target(*args, **kwargs)


def weight_readers(net: Network) -> dict[fx.Node, FakeQuantizer]:
    """Nodes of the graph that read a quantized weight, with its quantizer; sets `quantizer.parameter`."""
    found: dict[fx.Node, FakeQuantizer] = {}
    for node in net.module.graph.nodes:
        quantizer = quantizer_of(net, node)
        if quantizer is None or quantizer.role != "weight":
            continue
        source = parameter_node(net, node.args[0])
        whole = source if isinstance(source, fx.Node) and source.op == "get_attr" else None
        quantizer.parameter = None if whole is None else str(whole.target)
        for reader in node.users:
            found[reader] = quantizer
    return found


def quantizer_of(net: Network, node: fx.Node) -> FakeQuantizer | None:
    """The quantizer that a node calls, or None."""
    if node.op != "call_module" or not str(node.target).startswith(f"{QUANTIZERS}."):
        return None
    module = net.module.get_submodule(str(node.target))
    return module if isinstance(module, FakeQuantizer) else None


def mask_at(net: Network, node: fx.Node) -> NMMask | None:
    """The mask of weights that a node calls, or None."""
    if node.op != "call_module" or not str(node.target).startswith(f"{QUANTIZERS}."):
        return None
    module = net.module.get_submodule(str(node.target))
    return module if isinstance(module, NMMask) else None


class Trace:
    """Values of the two networks at the nodes that have run and whose readers have not all run.

    original, quantized
        node -> batches, for activations. What depends on parameters alone is computed when it is asked for,
        from the parameters at the start (`float_value`) or as they are now (`value_now`).
    held
        nodes that keep their values although their last reader has run.
    """

    def __init__(self, net: Network, images: list[Tensor]) -> None:
        self.net, self.module, self.graph = net, net.module, net.module.graph
        self.images = images
        self.original: dict[fx.Node, Batches] = {}
        self.quantized: dict[fx.Node, Batches] = {}
        self.start = {name: value.detach().clone() for name, value in net.module.state_dict().items()}
        self.activations = self._activations()
        self.order = [node for node in self.graph.nodes if node in self.activations and node.op != "output"]
        self.place = {node: i for i, node in enumerate(self.order)}
        self.last_use = self._last_uses()
        self.held: set[fx.Node] = set()

    def _activations(self) -> set[fx.Node]:
        found: set[fx.Node] = set()
        for node in self.graph.nodes:
            if node.op == "placeholder" or any(source in found for source in node.all_input_nodes):
                found.add(node)
        return found

    def _last_uses(self) -> dict[fx.Node, int]:
        end = len(self.order)
        return {
            node: max((self.place.get(user, end) for user in node.users), default=i)
            for i, node in enumerate(self.order)
        }

    def live_after(self, place: int) -> list[fx.Node]:
        """Nodes whose values are read after the node at `place`, in order."""
        return [node for node in self.order[: place + 1] if self.last_use[node] > place]

    def float_value(self, node: fx.Node) -> Any:
        """A value that depends on parameters alone, as in the float network."""
        if node.op == "get_attr":
            return self.start.get(str(node.target), _attribute(self.module, str(node.target)))
        if quantizer_of(self.net, node) is not None or mask_at(self.net, node) is not None:
            return self.float_value(node.all_input_nodes[0])
        args, kwargs = _fetched(node, self.float_value)
        return run_node(self.module, node, args, kwargs)

    def value_now(self, node: fx.Node) -> Any:
        """A value that depends on parameters alone, as it is now."""
        if node.op == "get_attr":
            return _attribute(self.module, str(node.target))
        args, kwargs = _fetched(node, self.value_now)
        return run_node(self.module, node, args, kwargs)

    def run_float(self, node: fx.Node, spend: bool = False) -> None:
        """Compute the float values of `node`; a quantizer hands its input on.

        `spend`: what nobody reads after this node goes batch by batch.
        """
        if node.op == "placeholder":
            self.original[node] = list(self.images)
        elif quantizer_of(self.net, node) is not None:
            self.original[node] = list(self.original[node.all_input_nodes[0]])
        else:
            self.original[node] = self._run(node, self.original, self.float_value, spend)

    def run_quantized(self, node: fx.Node, spend: bool = False) -> None:
        """Compute the values of `node` in the network quantized so far; `spend` as in `run_float`."""
        if node.op == "placeholder":
            self.quantized[node] = list(self.images)
        else:
            self.quantized[node] = self._run(node, self.quantized, self.value_now, spend)

    @torch.no_grad()
    def _run(
        self,
        node: fx.Node,
        values: dict[fx.Node, Batches],
        constant: Callable[[fx.Node], Any],
        spend: bool,
    ) -> Batches:
        fixed = {s: constant(s) for s in node.all_input_nodes if s not in self.activations}
        spent = [s for s in node.all_input_nodes if s in values and self._is_spent(s, node)] if spend else []
        quantizer = quantizer_of(self.net, node) if values is self.quantized else None
        grid = None if quantizer is None else byte_grid(quantizer)
        results = []
        for i in range(len(self.images)):

            def value(source: fx.Node, place: int = i) -> Any:
                return fixed[source] if source in fixed else values[source][place]

            args, kwargs = _fetched(node, value)
            try:
                found = run_node(self.module, node, args, kwargs)
                fits = grid is not None and isinstance(found, Tensor) and found.dtype == torch.float32
                results.append(grid.encode(found) if grid is not None and fits else found)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                sources = [value(source) for source in node.all_input_nodes]
                raise OutOfMemory(node.name, [x for x in sources if isinstance(x, Tensor)]) from error
            for source in spent:
                release(values[source], i)
        return HeldBatches(grid, results) if grid is not None and fits else results

    def _is_spent(self, source: fx.Node, node: fx.Node) -> bool:
        return self.last_use[source] <= self.place[node] and source not in self.held

    def forget_float(self, node: fx.Node) -> None:
        """Drop the float values of what nothing after `node` reads; `node` itself stays."""
        for source in node.all_input_nodes:
            if source in self.original and self._is_spent(source, node):
                del self.original[source]

    def forget(self, place: int, kept: set[fx.Node]) -> None:
        """Drop values that nothing after `place` reads, except `kept`."""
        for values in (self.original, self.quantized):
            for node in [n for n in values if self.last_use[n] <= place and n not in kept]:
                del values[node]


def _fetched(node: fx.Node, value: Callable[[fx.Node], Any]) -> tuple[Any, Any]:
    return fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value)


def _attribute(module: fx.GraphModule, path: str) -> Any:
    owner, _, name = path.rpartition(".")
    return getattr(module.get_submodule(owner), name)
