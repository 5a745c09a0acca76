"""Insert quantizers where an Assignment says, without touching the model's own parameters.

A multiply-accumulate module becomes the functional call it makes, with the weight read through its quantizer:
once per forward, also for a module that is called twice. Quantizers live under `quantizers.`, so every key of
the original state dict stays. Batch norm stays a module; the weight quantizer sees the unfolded weight
(training.md section 1.5).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import cast

from torch import Tensor, fx, nn
from torch.nn import functional as F

from bitjoule.formats import TensorFormat
from bitjoule.network.graph_writer import MARK
from bitjoule.network.network import Network, NetworkError
from bitjoule.workload import Assignment, Node, QuantPoint

__all__ = ["QUANTIZERS", "insert_quantizers", "pass_through", "quantizer_key"]

QUANTIZERS = "quantizers"
"""The module under which all quantizers stand."""

WeightQuantizer = Callable[[Node, TensorFormat], nn.Module]
ActivationQuantizer = Callable[[QuantPoint], nn.Module]


def insert_quantizers(
    net: Network,
    assignment: Assignment,
    weight_quantizer: WeightQuantizer,
    activation_quantizer: ActivationQuantizer,
) -> Network:
    """A new Network that reads every weight and activation of `assignment` through a quantizer.

    `weight_quantizer(node, format)` and `activation_quantizer(point)` make the modules. A weight that several
    nodes read in one Format has one quantizer, named after the first of them. ReLUs in `assignment.absorbed`
    hand their input on: the 1-bit quantizer behind them takes the sign of the pre-activation.

    Raises:
        NetworkError: `net` has quantizers already, or the assignment belongs to another graph.

    >>> from bitjoule.network import apply_scheme, capture
    >>> net = capture(nn.Sequential(nn.Linear(4, 2)), input_shape=(1, 4))
    >>> quantized = insert_quantizers(net, apply_scheme(net, "int8").assignment,
    ...                               lambda node, format: nn.Identity(), lambda point: nn.Identity())
    >>> [name for name, _ in quantized.module.quantizers.named_children()]
    ['input', '0_weight']
    """
    if net.quantized:
        raise NetworkError(f"{net.name} has quantizers already: insert into the network before that")
    _check(net, assignment)
    clone = net.clone()
    surgeon = _Surgeon(clone)
    for name in sorted(assignment.absorbed):
        surgeon.absorb(name)
    for point in assignment.points:
        if point.kind != "read":
            surgeon.quantize_activation(point, activation_quantizer(point))
    for point in assignment.points:
        if point.kind == "read":
            surgeon.quantize_activation(point, activation_quantizer(point))
    for node in net.graph.nodes:
        if node.name in assignment.weights:
            surgeon.quantize_weight(node, assignment.weights[node.name], weight_quantizer)
    surgeon.finish()
    return Network(net.graph, clone.module, assignment=assignment, notes=net.notes, quantized=True)


def quantizer_key(name: str) -> str:
    """The name of a quantizer below `quantizers.`: dots and other signs become `_`.

    >>> quantizer_key("layer1.0.conv1") + "_weight"
    'layer1_0_conv1_weight'
    """
    return re.sub(r"\W", "_", name)


def pass_through(x: Tensor) -> Tensor:
    """What an absorbed ReLU does: nothing."""
    return x


def _check(net: Network, assignment: Assignment) -> None:
    known = {node.name for node in net.graph.nodes}
    tensors = set(net.graph.tensors)
    strangers = [name for name in (*assignment.weights, *assignment.absorbed) if name not in known]
    strangers += [point.tensor for point in assignment.points if point.tensor not in tensors]
    if strangers:
        raise NetworkError(
            f"the assignment speaks of {strangers[0]!r}, which {net.name} does not have: "
            "make it with assign(net.graph, scheme) of this very network"
        )


class _Surgeon:
    """Edits the fx graph of one cloned Network."""

    def __init__(self, net: Network) -> None:
        self.module = net.module
        self.graph = net.module.graph
        self.net = net
        self.marked: dict[str, fx.Node] = {
            node.meta[MARK]: node for node in self.graph.nodes if MARK in node.meta
        }
        if hasattr(self.module, QUANTIZERS):
            raise NetworkError(
                f"{net.name} has a module of its own named {QUANTIZERS!r}, where quantizers go: rename it"
            )
        self.folder = nn.Module().train(self.module.training)
        self.module.add_module(QUANTIZERS, self.folder)
        self.last_input = [node for node in self.graph.nodes if node.op == "placeholder"][-1]
        self.weights: dict[tuple[object, TensorFormat], fx.Node] = {}

    def finish(self) -> None:
        """Check the edited graph and make it the module's forward."""
        self.graph.lint()
        self.module.recompile()

    def absorb(self, name: str) -> None:
        """Replace a ReLU by nothing; its Graph node stays, so Formats keep their names."""
        node = self.marked[name]
        source = node.all_input_nodes[0]
        with self.graph.inserting_after(node):
            made = self.graph.call_function(pass_through, (source,))
        made.meta[MARK] = name
        node.replace_all_uses_with(made)
        self.graph.erase_node(node)
        self.marked[name] = made

    def quantize_activation(self, point: QuantPoint, quantizer: nn.Module) -> None:
        """Let the readers of a point see the quantized tensor. A `read` point stands on the stored value."""
        target = self._add(quantizer_key(point.name), quantizer)
        producer = self.marked[point.tensor]
        readers = [(self.marked[name], operand) for name, operand in point.readers]
        value = producer
        if point.kind == "read" and readers:
            value = _operand(readers[0][0], readers[0][1])
        with self.graph.inserting_after(self.last_input if value.op == "placeholder" else value):
            made = self.graph.call_module(target, (value,))
        made.meta[f"{MARK}_quantizes"] = point.tensor
        for reader, operand in readers:
            _set_operand(reader, operand, made)
        if point.kind != "read":
            for user in list(producer.users):
                if user.op == "output":
                    user.replace_input_with(producer, made)

    def quantize_weight(self, node: Node, weight_format: TensorFormat, make: WeightQuantizer) -> None:
        """Read the weight of a multiply-accumulate node through a quantizer."""
        call = self.marked[node.name]
        if call.op == "call_module":
            call = self._functional(call)
            self.marked[node.name] = call
        weight = cast(fx.Node, call.args[1])
        identity = self._identity(weight)
        if (identity, weight_format) not in self.weights:
            target = self._add(f"{quantizer_key(node.name)}_weight", make(node, weight_format))
            with self.graph.inserting_after(weight):
                self.weights[identity, weight_format] = self.graph.call_module(target, (weight,))
        call.update_arg(1, self.weights[identity, weight_format])

    def _functional(self, node: fx.Node) -> fx.Node:
        """The functional call that a convolution or linear module makes, in its place."""
        path = str(node.target)
        module = self.module.get_submodule(path)
        with self.graph.inserting_before(node):
            weight = self.graph.get_attr(f"{path}.weight")
            bias = None if module.bias is None else self.graph.get_attr(f"{path}.bias")
            made = self._call(module, cast(fx.Node, node.args[0]), weight, bias)
        made.meta.update(node.meta)
        node.replace_all_uses_with(made)
        self.graph.erase_node(node)
        return made

    def _call(self, module: nn.Module, x: fx.Node, weight: fx.Node, bias: fx.Node | None) -> fx.Node:
        if isinstance(module, nn.Linear):
            return self.graph.call_function(F.linear, (x, weight, bias))
        if isinstance(module, nn.ConvTranspose1d | nn.ConvTranspose2d):
            transposed = F.conv_transpose1d if isinstance(module, nn.ConvTranspose1d) else F.conv_transpose2d
            settings = (module.stride, module.padding, module.output_padding, module.groups, module.dilation)
            return self.graph.call_function(transposed, (x, weight, bias, *settings))
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            convolution = F.conv1d if isinstance(module, nn.Conv1d) else F.conv2d
            arguments = (x, weight, bias, module.stride, module.padding, module.dilation, module.groups)
            return self.graph.call_function(convolution, arguments)
        raise NetworkError(f"{self.net.name}: no weight quantizer can stand in a {type(module).__name__}")

    def _identity(self, weight: fx.Node) -> object:
        """One value for all reads of one parameter, whatever name it is read by."""
        if weight.op == "get_attr":
            owner, _, name = str(weight.target).rpartition(".")
            return id(getattr(self.module.get_submodule(owner), name))
        sources = tuple(self._identity(source) for source in weight.all_input_nodes)
        return str(weight.target), repr(fx.map_arg(weight.args, lambda _: "*")), sources

    def _add(self, key: str, module: nn.Module) -> str:
        unique, count = key, 0
        while hasattr(self.folder, unique):
            count += 1
            unique = f"{key}_{count}"
        self.folder.add_module(unique, module.train(self.folder.training))
        return f"{QUANTIZERS}.{unique}"


def _operands(node: fx.Node) -> Iterator[tuple[int, int | None, fx.Node]]:
    """Activation operands in order, as (argument, place in a list or None, node)."""
    for index, argument in enumerate(node.args):
        for place, value in (
            enumerate(argument) if isinstance(argument, list | tuple) else ((None, argument),)
        ):
            if isinstance(value, fx.Node) and (MARK in value.meta or f"{MARK}_quantizes" in value.meta):
                yield index, place, value


def _operand(node: fx.Node, operand: int) -> fx.Node:
    return list(_operands(node))[operand][2]


def _set_operand(node: fx.Node, operand: int, value: fx.Node) -> None:
    index, place, _ = list(_operands(node))[operand]
    if place is None:
        node.update_arg(index, value)
    else:
        listed = list(cast(list[fx.Node], node.args[index]))
        listed[place] = value
        node.update_arg(index, listed)
