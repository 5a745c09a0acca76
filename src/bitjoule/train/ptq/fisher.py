"""How much an error of each value of a unit's result matters: gradients of the output's divergence."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, fx

from bitjoule.train.ptq.trace import Trace, quantizer_of, run_node

__all__ = ["importance_of", "output_gradients"]


def output_gradients(trace: Trace, place: int, outputs: list[Tensor]) -> Tensor | None:
    """d KL(p_float || p) / d z of every image; shape of z, None where more than z is alive there.

    z is the result of the node at `place` in the network quantized up to there, everything after it float.

    `outputs`: the float logits of every batch.
    """
    node = trace.order[place]
    if trace.live_after(place) != [node]:
        return None
    rest = trace.order[place + 1 :]
    constants = {
        s: trace.float_value(s) for n in rest for s in n.all_input_nodes if s not in trace.activations
    }
    last = next(n for n in trace.graph.nodes if n.op == "output").all_input_nodes
    if len(last) != 1:
        return None
    found = []
    with torch.enable_grad():
        for z, logits in zip(trace.quantized[node], outputs, strict=True):
            leaf = z.detach().clone().requires_grad_(True)
            values: dict[fx.Node, Any] = {**constants, node: leaf}
            for n in rest:
                if quantizer_of(trace.net, n) is not None:
                    values[n] = values[n.all_input_nodes[0]]
                else:
                    args = fx.map_arg(n.args, values.__getitem__)
                    values[n] = run_node(trace.module, n, args, fx.map_arg(n.kwargs, values.__getitem__))
            z_out = cast(Tensor, values[last[0]])
            p = logits.log_softmax(-1)
            divergence = (p.exp() * (p - z_out.log_softmax(-1))).sum()
            found.append(torch.autograd.grad(divergence, leaf)[0])
    return torch.cat(found)


def importance_of(gradients: Tensor) -> Tensor:
    """(abs(g) + 1)^2 with g in units of its root mean square, divided by its mean: costs keep their scale.

    >>> importance_of(torch.zeros(1, 2)).tolist()
    [[1.0, 1.0]]
    """
    size = gradients.square().mean().sqrt()
    found = (gradients.abs() / size.clamp_min(1e-30) + 1).square()
    return found / found.mean()
