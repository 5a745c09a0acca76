"""One pass over the graph: ranges, rounding and bias correction layer by layer, inputs quantized so far.

At every node both networks have run up to there, so a layer is rounded for the inputs it will really get
(`ptq.md` sections 1 and 4).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, fx

from bitjoule.network.graph_writer import MARK
from bitjoule.network.statistics import EdgeStatistics
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.pruning import NMMask
from bitjoule.quant.rounding import Gram, GramAccumulator, RoundingError
from bitjoule.quant.rounding.masked_target import importance, masked_target
from bitjoule.quant.rounding.target import weight_target
from bitjoule.quant.sva import SvaQuantizer
from bitjoule.train.ptq.config import PtqConfig
from bitjoule.train.ptq.datafree import mean_shift, no_mean
from bitjoule.train.ptq.drift import Drift
from bitjoule.train.ptq.moments import channel_axis, gram_of, mean_of, obstacle_of, window_of
from bitjoule.train.ptq.place import is_frozen
from bitjoule.train.ptq.ranges import range_activation, range_weight
from bitjoule.train.ptq.reconstruct import Reconstruction
from bitjoule.train.ptq.report import TensorRow, activation_row, sqnr_db, weight_row
from bitjoule.train.ptq.round_weight import round_weight
from bitjoule.train.ptq.trace import Batches, Trace, mask_at, quantizer_of, weight_readers
from bitjoule.train.ptq.vectors import TermBudget, hold
from bitjoule.workload.graph import Node

__all__ = ["LayerPass"]

_UNDECIDED = 0.05  # share of roundings that is told
_SHOWN = 1  # batches from which the numbers of a report are taken


@dataclass
class LayerPass:
    """Goes through the nodes of a placed network in order; `step` does one.

    The rows of the report come in running order. `seconds` counts ranges, rounding and bias correction.
    `statistics`: what batch norms stored of tensors, compared in `drift`.
    `solved`, `kept`: weights that a mask left, solved anew, and the mask.
    `means`: means of tensors by batch-norm statistics, for the analytic correction of biases.
    `pooled`: moments of the float inputs of all calls of a layer that is called more than once.
    """

    trace: Trace
    config: PtqConfig
    seed: int
    count: int
    rows: dict[str, TensorRow] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    solved: dict[FakeQuantizer, Tensor] = field(default_factory=dict)
    kept: dict[FakeQuantizer, Tensor] = field(default_factory=dict)
    statistics: Mapping[str, EdgeStatistics] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)
    budget: TermBudget = field(default_factory=TermBudget)
    means: Mapping[str, Tensor] = field(default_factory=dict)
    pooled: Mapping[FakeQuantizer, Gram] = field(default_factory=dict)

    def __post_init__(self) -> None:
        net = self.trace.net
        self.readers = weight_readers(net)
        self.described = {node.name: node for node in net.graph.nodes}
        calls: dict[FakeQuantizer, int] = {}
        for quantizer in self.readers.values():
            calls[quantizer] = calls.get(quantizer, 0) + 1
        self.shared = {quantizer for quantizer, count in calls.items() if count > 1}
        self.done: set[FakeQuantizer] = set()
        assert net.assignment is not None
        self.assignment = net.assignment

    def step(self, node: fx.Node) -> None:
        """Run one node in both networks; quantize what it reads or is first."""
        self._timed("float pass", self.trace.run_float, node, node not in self.readers)
        if node in self.readers:
            stored = self.statistics.get(self._layer(node).output)
            if (
                stored is not None
                and channel_axis(self._layer(node)) % self.trace.original[node][0].dim() == 1
            ):
                self._timed("drift", self.drift.see, node.meta[MARK], self.trace.original[node], stored)
        quantizer = quantizer_of(self.trace.net, node)
        if quantizer is not None and quantizer not in self.done:
            self._timed("activation ranges", self._activation, node, quantizer)
        weights = self.readers.get(node)
        if weights is not None and weights not in self.done:
            self._weights(node, weights)
        self.trace.forget_float(node)
        self._timed("quantized pass", self.trace.run_quantized, node, True)
        if weights is not None:
            self._timed("bias correction", self.correct_bias, node)
            self._result_row(node, weights)

    def _timed(self, step: str, work: Callable[..., Any], *args: Any) -> Any:
        begin = time.perf_counter()
        result = work(*args)
        self.seconds[step] = self.seconds.get(step, 0.0) + time.perf_counter() - begin
        return result

    def _activation(self, node: fx.Node, quantizer: FakeQuantizer) -> None:
        values = self.trace.original[node]
        method, notes = range_activation(quantizer, values, self.config, self.seed)
        self.notes += notes
        self.done.add(quantizer)
        self.rows[quantizer.name] = activation_row(quantizer, _shown(values), method)

    # --- weights -----------------------------------------------------------------------------

    def _weights(self, node: fx.Node, quantizer: FakeQuantizer) -> None:
        weight = cast(Tensor, self.trace.float_value(cast(fx.Node, node.args[1])))
        mask = mask_at(self.trace.net, cast(fx.Node, node.args[1]).all_input_nodes[0])
        ranged = weight
        if mask is not None:
            ranged = self._timed("pruning", self._prune, node, quantizer, weight, mask)
        method, notes = self._timed("weight ranges", range_weight, quantizer, ranged, self.config)
        self.notes += notes
        self.done.add(quantizer)
        if isinstance(quantizer, SvaQuantizer) and self._approximates(quantizer):
            self._timed("rounding", self._approximate, node, quantizer, weight)
            method = f"{method}, towards w*"
        elif self._rounds_with_data(node, quantizer):
            method = f"{method}, {self._timed('rounding', self._round, node, quantizer, weight)}"
        with torch.no_grad():
            rounded = quantizer(self.trace.value_now(cast(fx.Node, node.args[1]).all_input_nodes[0]))
            if quantizer.parameter is not None and is_frozen(quantizer):
                self._parameter(quantizer).copy_(rounded)
        self.rows[quantizer.name] = weight_row(quantizer, weight, rounded, method)

    def _rounds_with_data(self, node: fx.Node, quantizer: FakeQuantizer) -> bool:
        if self.config.rounding == "nearest" and self.config.refine == "none":
            return False
        tf = quantizer.tensor_format
        if tf.format.bits > self.config.rounding_up_to_bits:
            return False
        if not is_frozen(quantizer) or tf.format.kind == "float" or quantizer.parameter is None:
            return False
        obstacle = self.obstacle(node)
        if obstacle:
            self.notes.append(f"{quantizer.name}: rounded to nearest: {obstacle}")
        return not obstacle

    def _approximates(self, quantizer: SvaQuantizer) -> bool:
        budgeted = quantizer in self.budget.terms
        return quantizer.parameter is not None and (budgeted or self.config.rounding != "nearest")

    def _approximate(self, node: fx.Node, quantizer: SvaQuantizer, weight: Tensor) -> None:
        rows = weight.detach().double().flatten(1)
        gram = self.gram(node, quantizer)
        target = rows if self.config.target == "float" else weight_target(rows, gram).weights
        hold(quantizer, self._parameter(quantizer), target, gram, self.budget.terms.get(quantizer))

    def squares(self, node: fx.Node, quantizer: FakeQuantizer) -> Tensor:
        """Mean squares (rows, n) of what the weights of a layer are multiplied with; it must have run."""
        gram = self.gram(node, quantizer, plainly=True)
        weight = cast(Tensor, self.trace.float_value(cast(fx.Node, node.args[1])))
        diagonal = gram.a.diagonal(dim1=1, dim2=2)
        return diagonal.repeat_interleave(len(weight) // len(diagonal), 0)

    def obstacle(self, node: fx.Node) -> str:
        """Why the moments of what a layer reads are not known; "" where they are."""
        return obstacle_of(self._layer(node))

    def _round(self, node: fx.Node, quantizer: FakeQuantizer, weight: Tensor) -> str:
        config = self.config
        rows = weight.detach().double().flatten(1)
        gram = self.gram(node, quantizer)
        keep = None
        if quantizer in self.solved:
            target = self.solved[quantizer].double().flatten(1)
            keep = self.kept[quantizer].flatten(1)
        else:
            target = rows if config.target == "float" else weight_target(rows, gram).weights
        try:
            return round_weight(quantizer, self._parameter(quantizer), target, gram, keep, config)
        except RoundingError as error:
            self.notes.append(f"{quantizer.name}: rounded to nearest: {error}")
            return "nearest"

    @torch.no_grad()
    def _prune(self, node: fx.Node, quantizer: FakeQuantizer, weight: Tensor, mask: NMMask) -> Tensor:
        """Choose the survivors by what their inputs are, solve them anew; the survivors alone."""
        solved = weight.detach().clone()
        if self.obstacle(node):
            mask.update(weight)
        else:
            gram = self.gram(node, quantizer)
            rows = weight.detach().double().flatten(1)
            mask.update(importance(rows, gram.a).reshape(weight.shape))
            keep = mask.mask.flatten(1)
            solved = masked_target(rows, gram, keep).reshape(weight.shape).to(weight.dtype)
        solved = torch.where(mask.mask, solved, 0.0)
        self.solved[quantizer], self.kept[quantizer] = solved, mask.mask.clone()
        self._parameter(quantizer).copy_(solved)
        return mask.survivors(solved)

    def gram(self, node: fx.Node, quantizer: FakeQuantizer, plainly: bool = False) -> Gram:
        """Second moments of what a layer reads; `plainly`: in the float network alone."""
        if quantizer in self.pooled and not plainly:
            return self.pooled[quantizer]
        source = cast(fx.Node, node.args[0])
        original = self.trace.original[source]
        aim = self.config.target == "quantized" and quantizer not in self.shared and not plainly
        quantized = self.trace.quantized[source] if aim else None
        accumulator = GramAccumulator(
            window_of(self._layer(node)), images=self.count, seed=self.seed, least=self.config.columns
        )
        return gram_of(self._layer(node), quantizer.name, original, quantized, accumulator)

    # --- bias --------------------------------------------------------------------------------

    @torch.no_grad()
    def correct_bias(self, node: fx.Node) -> None:
        """Add to the bias what the layer's result lacks in the mean of each channel, and to the result."""
        bias = node.args[2] if len(node.args) > 2 else None
        if self.config.bias_correction == "none" or not isinstance(bias, fx.Node) or bias.op != "get_attr":
            return
        if self.readers[node] in self.shared:
            self.notes.append(f"{node.meta[MARK]}: no bias correction, the layer is called more than once")
            return
        axis = channel_axis(self._layer(node))
        if self.config.bias_correction == "analytic":
            source = cast(fx.Node, node.args[1])
            weights = self.trace.float_value(source), self.trace.value_now(source)
            found = mean_shift(self._layer(node), *weights, self.means)
            if found is None:
                self.notes.append(no_mean(self._layer(node)))
                return
            shift = found
        else:
            shift = mean_of(self.trace.original[node], axis) - mean_of(self.trace.quantized[node], axis)
        parameter = cast(Tensor, self.trace.value_now(bias))
        parameter += shift.to(parameter.dtype)
        dims = self.trace.quantized[node][0].dim()
        shaped = shift.to(parameter.dtype).view([-1 if i == axis % dims else 1 for i in range(dims)])
        values = self.trace.quantized[node]
        assert isinstance(values, list)
        for i, value in enumerate(values):  # batch by batch: never two copies of all images
            values[i] = value + shaped

    def reconstructed(self, unit: list[fx.Node], result: Reconstruction) -> None:
        """Run a unit again after its weights, steps and biases were learned; the report follows."""
        if not result.kept:
            return
        if result.undecided > _UNDECIDED:
            names = [self.readers[node].name for node in unit if node in self.readers]
            self.notes.append(
                f"{names[0]} .. {names[-1]}: {result.undecided:.0%} of the learned roundings were not binary "
                "at the end and were rounded; more iterations decide them"
            )
        for node in unit:
            self.trace.run_quantized(node, spend=True)
            quantizer = self.readers.get(node) or quantizer_of(self.trace.net, node)
            if quantizer is None:
                continue
            row = self.rows[quantizer.name]
            if quantizer.role == "activation":
                if node in self.trace.original:
                    made = activation_row(quantizer, _shown(self.trace.original[node]), row.method)
                    self.rows[quantizer.name] = replace(made, method=f"{row.method}, learned")
                continue
            if quantizer in self.shared:
                continue
            source = cast(fx.Node, node.args[1])
            weight = cast(Tensor, self.trace.float_value(source))
            with torch.no_grad():
                rounded = cast(Tensor, self.trace.value_now(source))
            made = weight_row(quantizer, weight, rounded, "block reconstruction")
            self.rows[quantizer.name] = replace(made, output_sqnr_db=row.output_sqnr_db)

    def _result_row(self, node: fx.Node, quantizer: FakeQuantizer) -> None:
        found = _shown(self.trace.quantized[node])
        wanted = _shown(self.trace.original[node])
        row = self.rows[quantizer.name]
        self.rows[quantizer.name] = replace(row, output_sqnr_db=sqnr_db(wanted, found))

    def _layer(self, node: fx.Node) -> Node:
        return self.described[node.meta[MARK]]

    def _parameter(self, quantizer: FakeQuantizer) -> Tensor:
        assert quantizer.parameter is not None
        owner, _, name = quantizer.parameter.rpartition(".")
        return cast(Tensor, getattr(self.trace.module.get_submodule(owner), name))


def _shown(batches: Batches) -> Tensor:
    """The values from which the numbers of a report are taken."""
    return torch.cat(list(batches[:_SHOWN]))
