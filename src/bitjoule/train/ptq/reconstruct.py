"""Block reconstruction: rounding of all weights and steps of all activations of a unit, learned together.

BRECQ (Li et al. 2021, arXiv 2102.05426) with the input mixing of QDrop (Wei et al. 2022, arXiv 2203.05740):
the unit reads a mixture of quantized and float activations, drawn anew in each step, and learns to give what
the float network gives. The cost of an error is its square, with `fisher` times (abs(g) + 1)^2, g the
gradient of the divergence of the network's output at that place. What was learned is kept unless it does
worse than the rounding of each layer alone, on all images with everything quantized, by more than the
standard error of that comparison.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, fx, nn

from bitjoule.quant import FakeQuantizer
from bitjoule.quant.rounding import beta_at, rectified_sigmoid, share_at
from bitjoule.train.ptq.held import Levels, joined
from bitjoule.train.ptq.judge import Judge, clearly_worse, mean_cost
from bitjoule.train.ptq.place import is_frozen
from bitjoule.train.ptq.soft_parts import SoftStep, SoftWeight
from bitjoule.train.ptq.trace import Trace, quantizer_of, run_node

__all__ = ["Learning", "Reconstruction", "reconstruct"]

_State = Literal["soft", "hard", "now"]


@dataclass(frozen=True)
class Learning:
    """How a unit learns: steps, images a step, rates of rounding, of steps (relative) and of biases, strength
    of the regulariser, share of activations that stay float (0: BRECQ).
    """

    iterations: int = 500
    batch: int = 32
    rate: float = 3e-2
    step_rate: float = 1e-3
    bias_rate: float = 1e-3
    strength: float = 1.0
    drop: float = 0.5


@dataclass(frozen=True)
class Reconstruction:
    """The share of roundings that were not yet binary, and whether what was learned is `kept`."""

    undecided: float
    kept: bool


class _Unit:
    """One unit as a function of its inputs, with what it learns."""

    def __init__(
        self,
        trace: Trace,
        nodes: list[fx.Node],
        readers: dict[fx.Node, FakeQuantizer],
        pruned: Mapping[FakeQuantizer, tuple[Tensor, Tensor]],
        fixed: Collection[FakeQuantizer],
    ) -> None:
        nodes = [node for node in nodes if node.op != "placeholder"]
        self.trace, self.nodes = trace, nodes
        inside = set(nodes)
        self.inputs = list(
            dict.fromkeys(
                s for n in nodes for s in n.all_input_nodes if s in trace.activations and s not in inside
            )
        )
        self.output = nodes[-1]
        self.weights: dict[fx.Node, SoftWeight] = {}
        self.biases: dict[fx.Node, nn.Parameter] = {}
        self.steps: dict[fx.Node, SoftStep] = {}
        self.constants: dict[fx.Node, Any] = {}
        for node in nodes:
            quantizer = quantizer_of(trace.net, node)
            if (
                quantizer is not None
                and quantizer.tensor_format.format.kind == "integer"
                and is_frozen(quantizer)
            ):
                self.steps[node] = SoftStep(quantizer)
            for source in node.all_input_nodes:
                if source not in trace.activations:
                    self.constants[source] = trace.value_now(source)
            reader = readers.get(node)
            if reader is None or reader in fixed:
                continue
            source = cast(fx.Node, node.args[1])
            weight = cast(Tensor, trace.float_value(source))
            if is_frozen(reader) and reader.parameter is not None:
                start, keep = pruned.get(reader, (weight, None))
                self.weights[source] = SoftWeight(reader, start, keep)
            bias = node.args[2] if len(node.args) > 2 else None
            if isinstance(bias, fx.Node) and bias.op == "get_attr":
                self.biases[bias] = nn.Parameter(cast(Tensor, trace.value_now(bias)).detach().clone())

    def run(
        self, inputs: list[Tensor], drop: float, generator: torch.Generator | None, state: _State = "soft"
    ) -> Tensor:
        """The unit's result; a share `drop` of the activations behind a quantizer stays float.

        `state`: with what is learned, `soft` or rounded (`hard`), or with what the network has `now`.
        """
        values: dict[fx.Node, Any] = dict(zip(self.inputs, inputs, strict=True))
        for source, constant in self.constants.items():
            values[source] = constant
        for source, weight in self.weights.items():
            values[source] = weight.value() if state == "soft" else weight.hard()
        for bias, parameter in self.biases.items():
            values[bias] = parameter
        if state == "now":
            for source in (*self.weights, *self.biases):
                values[source] = self.trace.value_now(source)
        for node in self.nodes:
            step = None if state == "now" else self.steps.get(node)
            if step is None:
                args = fx.map_arg(node.args, values.__getitem__)
                kwargs = fx.map_arg(node.kwargs, values.__getitem__)
                values[node] = run_node(self.trace.module, node, args, kwargs)
                continue
            x = values[node.all_input_nodes[0]]
            y = step(x)
            if drop > 0:
                y = torch.lerp(x, y, chance_mask(x, 1 - drop, generator))
            values[node] = y
        return cast(Tensor, values[self.output])

    def results(self, inputs: Sequence[Tensor | Levels], state: _State) -> Iterator[Tensor]:
        """The unit's results, everything quantized, in the batches of the trace."""
        first = 0
        for batch in self.trace.original[self.output]:
            part = slice(first, first + len(batch))
            with torch.no_grad():
                yield self.run([x[part] for x in inputs], 0.0, None, state)
            first += len(batch)

    @torch.no_grad()
    def commit(self) -> None:
        """Give the network the weights, steps and biases."""
        for soft in self.weights.values():
            _parameter(self.trace, soft.quantizer).copy_(soft.hard())
        for step in self.steps.values():
            step.quantizer.scale_now().copy_(step.scale())
        for bias, parameter in self.biases.items():
            cast(Tensor, self.trace.value_now(bias)).copy_(parameter)


def chance_mask(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """1.0 for about `share` of the elements of `x`, to 1/256, else 0.0; in the memory order of `x`.

    One random number of 64 bits serves eight elements.
    """
    words = torch.randint(-(2**63), 2**63 - 1, (x.numel() // 8 + 1,), generator=generator)
    chosen = (words.view(torch.uint8)[: x.numel()] < round(256 * share)).to(x.dtype)
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return chosen.view(x.shape)
    n, c, h, w = x.shape
    return chosen.view(n, h, w, c).permute(0, 3, 1, 2)


def reconstruct(
    trace: Trace,
    nodes: list[fx.Node],
    readers: dict[fx.Node, FakeQuantizer],
    importance: Tensor | None,
    learning: Learning,
    seed: int,
    pruned: Mapping[FakeQuantizer, tuple[Tensor, Tensor]] | None = None,
    fixed: Collection[FakeQuantizer] = (),
    judge: Judge | None = None,
) -> Reconstruction | None:
    """Learn one unit whose inputs and float result are still in `trace`; sets weights, biases and steps.

    `importance`: (abs(g) + 1)^2 of every value of the result, or None. `pruned`: weights to start from and
    their mask, of quantizers behind one. `fixed`: quantizers of weights that stay as they are, other units
    read them too. `judge`: what decides whether it is kept; by default the mean cost of the unit's error.
    None is returned where nothing can be learned: no weight, or no single tensor as result.
    """
    unit = _Unit(trace, nodes, readers, pruned or {}, fixed)
    plain = [_whole(trace, node) for node in unit.inputs if _tensors(trace, node)]
    seen = [joined(trace.quantized[node]) for node in unit.inputs if _tensors(trace, node)]
    if not unit.weights or len(plain) != len(unit.inputs) or not _tensors(trace, unit.output):
        return None
    wanted = _whole(trace, unit.output)
    judged = judge or mean_cost(trace.original[unit.output], importance)
    before = judged(unit.results(seen, "now"))
    with torch.enable_grad():
        undecided = _learn(unit, plain, seen, wanted, importance, learning, seed)
    after = judged(unit.results(seen, "hard"))
    kept = not clearly_worse(before, after)
    if kept:
        unit.commit()
    return Reconstruction(undecided, kept)


def _learn(
    unit: _Unit,
    plain: list[Tensor],
    seen: Sequence[Tensor | Levels],
    wanted: Tensor,
    importance: Tensor | None,
    learning: Learning,
    seed: int,
) -> float:
    """Adam over roundings, steps and biases; the share of roundings left undecided."""
    generator = torch.Generator().manual_seed(seed)
    roundings = [w.v for w in unit.weights.values()]
    groups: list[dict[str, Any]] = [
        {"params": roundings, "lr": learning.rate},
        {"params": [s.log for s in unit.steps.values()], "lr": learning.step_rate},
        {"params": list(unit.biases.values()), "lr": learning.bias_rate},
    ]
    optimizer = torch.optim.Adam([g for g in groups if g["params"]])
    rates = [(group, group["lr"]) for group in optimizer.param_groups[1:]]
    batch = min(learning.batch, len(wanted))
    for step in range(learning.iterations):
        chosen = torch.randint(len(wanted), (batch,), generator=generator)
        inputs = []
        for x, q in zip(plain, seen, strict=True):
            part = q[chosen]
            if learning.drop > 0:
                part = torch.lerp(x[chosen], part, chance_mask(part, 1 - learning.drop, generator))
            inputs.append(part)
        found = unit.run(inputs, learning.drop, generator)
        error = (found - wanted[chosen]).square()
        if importance is not None:
            error = error * importance[chosen]
        cost = error.sum(1).mean()
        loss = cost
        if share_at(step, learning.iterations):
            beta = beta_at(step, learning.iterations)
            for v, soft in zip(roundings, unit.weights.values(), strict=True):
                h = rectified_sigmoid(v)
                loss = loss + learning.strength * ((1 - (2 * h - 1).abs().pow(beta)) * soft.free).sum()
        for group, rate in rates:
            group["lr"] = rate * (1 - step / learning.iterations)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    count = sum(int(w.free.sum()) for w in unit.weights.values())
    return float(sum(w.undecided().detach() for w in unit.weights.values())) / max(1, count)


def _whole(trace: Trace, node: fx.Node) -> Tensor:
    """All float values of a node as one tensor, of which its batches become views: they are held once."""
    batches = trace.original[node]
    whole = torch.cat(list(batches))
    trace.original[node] = list(torch.split(whole, [len(x) for x in batches]))
    return whole


def _tensors(trace: Trace, node: fx.Node) -> bool:
    return all(isinstance(value, Tensor) for value in trace.original[node])


def _parameter(trace: Trace, quantizer: FakeQuantizer) -> Tensor:
    assert quantizer.parameter is not None
    owner, _, name = quantizer.parameter.rpartition(".")
    return cast(Tensor, getattr(trace.module.get_submodule(owner), name))
