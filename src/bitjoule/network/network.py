"""A Network: a captured model, runnable and described at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bitjoule.network.captured_module import CapturedModule
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.workload import Assignment, Edge, Graph, Workload, assign, layer_of, workload_of
from bitjoule.workload.graph import MAC_OPS

__all__ = ["Network", "NetworkError", "apply_scheme", "edges"]


class NetworkError(ValueError):
    """A Network asked for something its state does not allow; the text says what to do first."""


class Network:
    """A graph of modules and tensors, with Formats on its edges once a scheme is applied.

    `graph`: the plain description every room reads. `module`: the same network as a torch module; its
    parameters and buffers have the names of the model. `assignment`: the Formats, or None. `notes`: what a
    step could not do or had to decide, in words. `quantized`: whether quantizers were inserted.

    >>> from bitjoule.network import capture
    >>> net = capture(nn.Sequential(nn.Linear(4, 2), nn.ReLU()), input_shape=(1, 4))
    >>> net(torch.zeros(3, 4)).shape, [node.op for node in net.graph.nodes]
    (torch.Size([3, 2]), ['linear', 'relu'])
    """

    def __init__(
        self,
        graph: Graph,
        module: CapturedModule,
        *,
        assignment: Assignment | None = None,
        notes: tuple[str, ...] = (),
        quantized: bool = False,
    ) -> None:
        self.graph = graph
        self.module = module
        self.assignment = assignment
        self.notes = notes
        self.quantized = quantized

    @property
    def name(self) -> str:
        """The network's name, by default the class of the model."""
        return self.graph.name

    @property
    def scheme(self) -> Scheme | None:
        """The scheme applied, or None."""
        return None if self.assignment is None else self.assignment.scheme

    @property
    def training(self) -> bool:
        """True in training mode."""
        return self.module.training

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the network; takes and returns what the model's forward takes and returns, for any batch."""
        return self.module(*inputs)

    def train(self, mode: bool = True) -> Network:
        """Training mode for every module; returns the Network."""
        self.module.train(mode)
        return self

    def eval(self) -> Network:
        """Evaluation mode for every module; returns the Network."""
        return self.train(False)

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        memory_format: torch.memory_format | None = None,
    ) -> Network:
        """Move parameters and buffers; returns the Network."""
        if device is not None or dtype is not None:
            self.module.to(device=device, dtype=dtype)
        if memory_format is not None:
            self.module.to(memory_format=memory_format)  # type: ignore[call-overload]
        return self

    def parameters(self) -> Iterator[nn.Parameter]:
        """The trainable parameters."""
        return self.module.parameters()

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Parameters by the names of the model."""
        return self.module.named_parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Parameters and buffers by the names of the model; quantizers under `quantizers.`."""
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor], strict: bool = True) -> None:
        """Load what `state_dict` gave, of this Network or of the model it was captured from."""
        self.module.load_state_dict(dict(state), strict=strict)

    def clone(self) -> Network:
        """An independent copy: weights, quantizers, modes."""
        module = copy.deepcopy(self.module)
        return Network(
            self.graph, module, assignment=self.assignment, notes=self.notes, quantized=self.quantized
        )

    def workload(self, scheme: Scheme | str | None = None) -> Workload:
        """What one inference computes under `scheme`, by default the one applied, else float32."""
        return workload_of(self.graph, scheme or self.scheme or "float32")

    def summary(self) -> str:
        """A table: name, operator, output shape, parameters, multiply-accumulates."""
        rows: list[tuple[str, ...]] = [("name", "operator", "output", "parameters", "MACs")]
        total_macs = 0
        for node in self.graph.nodes:
            macs = layer_of(self.graph, node).macs if _is_counted(node.op, node.attributes) else 0
            total_macs += macs
            shape = "x".join(map(str, self.graph.tensors[node.output].shape))
            count = sum(math.prod(size) for size in node.parameters.values())
            numbers = (f"{number:,}" if number else "" for number in (count, macs))
            rows.append((node.name, node.op, shape, *numbers))
        parameters = sum(parameter.numel() for parameter in self.parameters())
        rows.append(("total", "", "", f"{parameters:,}", f"{total_macs:,}"))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = []
        for row in rows:
            left = [row[column].ljust(widths[column]) for column in range(3)]
            right = [row[column].rjust(widths[column]) for column in (3, 4)]
            lines.append("  ".join((*left, *right)).rstrip())
        lines.insert(1, "-" * max(map(len, lines)))
        lines.insert(-1, lines[1])
        scheme = f", scheme {self.scheme}" if self.scheme else ""
        return "\n".join((f"{self.name}{scheme}", *lines, *(f"note: {note}" for note in self.notes)))

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        scheme = f" scheme={str(self.scheme)!r}" if self.scheme else ""
        return f"<Network {self.name!r} of {len(self.graph.nodes)} nodes{scheme}>"


def _is_counted(op: str, attributes: Mapping[str, object]) -> bool:
    return op in MAC_OPS and not attributes.get("transposed")


def apply_scheme(net: Network, scheme: Scheme | str, *, image_signed: bool = True) -> Network:
    """The same network with Formats on every edge; weights are shared and nothing is quantized yet.

    `image_signed`: whether inputs hold negative values. Training or calibration inserts the quantizers.

    Raises:
        SchemeError: the scheme does not parse, or an override matches no layer.
        NetworkError: quantizers were inserted already.

    >>> from bitjoule.network import capture
    >>> net = capture(nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 2)), input_shape=(1, 4))
    >>> [edge.format for edge in edges(apply_scheme(net, "int8"))]
    ['INT8', 'acc', 'UINT8', 'acc']
    """
    if net.quantized:
        raise NetworkError(
            f"{net.name}: quantizers of scheme {str(net.scheme)!r} are inserted already; "
            "apply the scheme to the network before that"
        )
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    assignment = assign(net.graph, parsed, image_signed=image_signed)
    return Network(net.graph, net.module, assignment=assignment, notes=net.notes)


def edges(net: Network) -> tuple[Edge, ...]:
    """Every edge of a network with the Format it is read in ("acc": an accumulator), outputs last.

    Raises:
        NetworkError: no scheme was applied.
    """
    if net.assignment is None:
        raise NetworkError(f"{net.name} has no Formats on its edges yet: apply_scheme(net, 'w4a4') first")
    return net.assignment.edges()
