"""What follows a unit, in float: how the network's output depends on the unit's result.

A result z is judged by the divergence KL(p_float || p) of the output it leads to, everything before z
quantized and everything after it float. Its gradient says how much an error of each value of z matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

from bitjoule.train.ptq.output_loss import divergence
from bitjoule.train.ptq.trace import Trace, quantizer_of, run_node

__all__ = ["FloatRest", "importance_of"]


class FloatRest:
    """The float network after the node at `place` of a trace; `after` makes it, where there is one."""

    def __init__(self, trace: Trace, place: int, output: fx.Node) -> None:
        self.trace, self.node, self.output = trace, trace.order[place], output
        self.rest = trace.order[place + 1 :]
        self.constants = {
            s: trace.float_value(s)
            for n in self.rest
            for s in n.all_input_nodes
            if s not in trace.activations
        }

    @classmethod
    def after(cls, trace: Trace, place: int) -> FloatRest | None:
        """None where more than one tensor is alive after the node, or the network has several outputs."""
        last = next(n for n in trace.graph.nodes if n.op == "output").all_input_nodes
        alive = trace.live_after(place) or [trace.order[place]]
        return cls(trace, place, last[0]) if alive == [trace.order[place]] and len(last) == 1 else None

    def logits(self, z: Tensor) -> Tensor:
        """The network's output of one batch, from the node's result `z`."""
        values: dict[fx.Node, Any] = {**self.constants, self.node: z}
        for n in self.rest:
            if quantizer_of(self.trace.net, n) is not None:
                values[n] = values[n.all_input_nodes[0]]
                continue
            args = fx.map_arg(n.args, values.__getitem__)
            values[n] = run_node(self.trace.module, n, args, fx.map_arg(n.kwargs, values.__getitem__))
        return cast(Tensor, values[self.output])

    def _divergence(self, z: Tensor, wanted: Tensor) -> Tensor:
        found = divergence(wanted, self.logits(z))
        return found.flatten(1).sum(1) if found.dim() > 1 else found

    @torch.no_grad()
    def divergence(self, results: Iterable[Tensor], outputs: Sequence[Tensor]) -> Tensor:
        """Divergence of every image's output from the float `outputs`, in nats; float64 (images,)."""
        found = [self._divergence(z, wanted) for z, wanted in zip(results, outputs, strict=True)]
        return torch.cat(found).double()

    def gradients(self, results: Iterable[Tensor], outputs: Sequence[Tensor]) -> Tensor:
        """d divergence / d z of every image of all batches; shape of z."""
        found = []
        with torch.enable_grad():
            for z, wanted in zip(results, outputs, strict=True):
                leaf = z.detach().clone().requires_grad_(True)
                found.append(torch.autograd.grad(self._divergence(leaf, wanted).sum(), leaf)[0])
        return torch.cat(found)


def importance_of(gradients: Tensor) -> Tensor:
    """(abs(g) + 1)^2 with g in units of its root mean square, divided by its mean: costs keep their scale.

    >>> importance_of(torch.zeros(1, 2)).tolist()
    [[1.0, 1.0]]
    """
    size = gradients.square().mean().sqrt()
    found = (gradients.abs() / size.clamp_min(1e-30) + 1).square()
    return found / found.mean()
