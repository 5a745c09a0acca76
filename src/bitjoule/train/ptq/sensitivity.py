"""How much each tensor alone hurts in each Format, everything else float (`ptq.md` section 5.2).

The values feed the integer programme of `search/programme.py`. Float activations of one batch are kept, so
only what depends on the tensor is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, fx

from bitjoule.network import Network, fold_batch_norm
from bitjoule.quant import FakeQuantizer, make_activation_quantizer, make_weight_quantizer
from bitjoule.quant.calibration import activation_format
from bitjoule.scheme import Precision, Scheme, parse_scheme
from bitjoule.train.ptq.check import batched, check_network, gathered
from bitjoule.train.ptq.config import PtqConfig, PtqError
from bitjoule.train.ptq.curvature import curvatures
from bitjoule.train.ptq.output_loss import Kind, compared
from bitjoule.train.ptq.place import frozen_config, placed
from bitjoule.train.ptq.ranges import range_activation, range_weight
from bitjoule.train.ptq.trace import Trace, quantizer_of, run_node, weight_readers
from bitjoule.workload.assign import QuantPoint

__all__ = ["Sensitivities", "Sensitivity", "sensitivities"]

KINDS = get_args(Kind)
Values = dict[fx.Node, Any]
_LABELLED = ("loss", "accuracy_drop")


@dataclass(frozen=True)
class Sensitivity:
    """One tensor in one Format: the value (greater is worse) and its standard error over images."""

    tensor: str
    role: str
    token: str
    value: float
    error: float


@dataclass(frozen=True)
class Sensitivities:
    """All measurements of one kind, in running order."""

    kind: str
    rows: tuple[Sensitivity, ...]

    def of(self, role: Literal["weight", "activation"]) -> dict[str, dict[str, float]]:
        """tensor -> token -> value, as the integer programme takes them."""
        found: dict[str, dict[str, float]] = {}
        for row in self.rows:
            if row.role == role:
                found.setdefault(row.tensor, {})[row.token] = row.value
        return found

    def to_json(self) -> dict[str, Any]:
        """A JSON document."""
        return {"kind": self.kind, "rows": [vars(row) for row in self.rows]}


def sensitivities(
    net: Network,
    images: Tensor,
    *,
    weights: Sequence[str] = ("2", "3", "4", "5", "6", "7", "8"),
    activations: Sequence[str] = ("2", "3", "4", "5", "6", "7", "8"),
    kind: Kind = "kl",
    scheme: Scheme | str = "int8",
    labels: Tensor | None = None,
    count: int = 256,
    batch: int = 64,
    config: PtqConfig | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> Sensitivities:
    """Quantize one tensor at a time, weights to nearest, and measure what that does.

    weights, activations
        tokens as schemes write them: bits, or names of Formats.
    kind
        `kl`: mean divergence of the output from the float one; `loss`, `accuracy_drop`: rise of the
        cross-entropy, drop of top-1, which need `labels`; `sqnr`: minus the dB of the logits; `hessian`,
        `fisher`: 0.5 h sum dW^2 of weights alone, from second or squared first derivatives.
    scheme
        gives the graph mode, hence which tensors are quantized at all.

    Raises:
        PtqError: an unknown kind, or labels that are missing; images as in `ptq`.
    """
    if kind not in KINDS:
        raise PtqError(f"sensitivities: kind must be one of {', '.join(KINDS)}; not {kind!r}")
    if kind in _LABELLED and labels is None:
        raise PtqError(f"sensitivities: kind {kind!r} needs labels; give labels=, or kind='kl' without")
    if not weights and not activations:
        raise PtqError("sensitivities: weights and activations name no Format; give at least one")
    check_network(net)
    found = gathered(images, net, count, "fast")
    if kind in _LABELLED and labels is not None and len(labels) < len(found):
        raise PtqError(f"sensitivities: {len(found)} images need as many labels, not {len(labels)}")
    parsed = parse_scheme(scheme) if isinstance(scheme, str) else scheme
    settings = config or PtqConfig()
    plain = fold_batch_norm(net)
    signed = bool((found < 0).any())
    base = placed(plain, parsed, asymmetric_below_bits=0, image_signed=signed)
    if kind in ("hessian", "fisher"):
        rows = _by_curvature(base, plain, found, weights, kind, settings, seed, batch)
        return Sensitivities(kind, tuple(rows))
    target = None if labels is None else torch.as_tensor(labels)[: len(found)]
    probe = _Probe(base, settings, seed, weights, activations)
    with torch.no_grad():
        probe.find_ranges(batched(found, batch))
        for done, part in enumerate(batched(found, batch)):
            say = (lambda text, done=done: progress(f"batch {done + 1}: {text}")) if progress else None
            these = None if target is None else target[done * batch : (done + 1) * batch]
            probe.measure(part, kind, these, say)
    return Sensitivities(kind, tuple(probe.rows()))


class _Probe:
    """Quantizers of every tensor in every Format, and the measurements so far."""

    def __init__(
        self, net: Network, config: PtqConfig, seed: int, weights: Sequence[str], activations: Sequence[str]
    ) -> None:
        assert net.assignment is not None
        self.net, self.config, self.seed = net, config, seed
        readers = weight_readers(net)
        points = {point.name: point for point in net.assignment.points}
        self.quantizers: dict[fx.Node, dict[str, FakeQuantizer]] = {}
        self.measured: dict[tuple[str, str, str], list[Tensor]] = {}
        self.weight_nodes: dict[fx.Node, fx.Node] = {}
        for node in net.module.graph.nodes:
            quantizer = quantizer_of(net, node)
            if quantizer is None:
                continue
            if not (weights if quantizer.role == "weight" else activations):
                continue
            if quantizer.role == "weight":
                self.quantizers[node] = {t: self._weight(quantizer.name, t) for t in weights}
                self.weight_nodes[node] = next(reader for reader in node.users if reader in readers)
            else:
                point = points[quantizer.name]
                self.quantizers[node] = {t: self._activation(point, t) for t in activations}

    def _weight(self, name: str, token: str) -> FakeQuantizer:
        node = self.net.graph.node(name.removesuffix(".weight"))
        tf = Precision(token, "8").weight_format()
        return make_weight_quantizer(node, tf, frozen_config(tf, "weight", node.name)).eval()

    def _activation(self, point: QuantPoint, token: str) -> FakeQuantizer:
        tf = Precision("8", token).activation_format(signed=point.signed)
        if point.signed:
            tf = activation_format(tf, -1.0, self.config.asymmetric_below_bits)
        made = replace(point, format=tf)
        return make_activation_quantizer(made, frozen_config(tf, "activation", point.name)).eval()

    def find_ranges(self, images: list[Tensor]) -> None:
        """Scales of every quantizer: one float pass, one calibrator for each width."""
        trace = Trace(self.net, images)
        for node, choices in self.quantizers.items():
            if node in self.weight_nodes:
                weight = cast(Tensor, trace.float_value(node))
                for quantizer in choices.values():
                    range_weight(quantizer, weight, self.config)
        for place, node in enumerate(trace.order):
            trace.run_float(node)
            for quantizer in self.quantizers.get(node, {}).values():
                range_activation(quantizer, trace.original[node], self.config, self.seed)
            trace.forget(place, set())

    def measure(
        self, images: Tensor, kind: Kind, labels: Tensor | None, say: Callable[[str], object] | None
    ) -> None:
        """One batch: every tensor in every Format, from the first node that depends on it."""
        trace = Trace(self.net, [images])
        for node in trace.order:
            trace.run_float(node)
        values = {node: batches[0] for node, batches in trace.original.items()}
        output = next(n for n in trace.graph.nodes if n.op == "output").all_input_nodes
        logits = [values[node] for node in output]
        for node, choices in self.quantizers.items():
            name = next(iter(choices.values())).name
            if say is not None:
                say(name)
            reader = self.weight_nodes.get(node)
            rest = _behind(trace, node)
            for token, quantizer in choices.items():
                source = trace.float_value(node) if reader is not None else values[node]
                changed: dict[fx.Node, Any] = {node: quantizer(source)}
                for later in rest:
                    changed[later] = self._run(trace, later, values, changed)
                found = [changed.get(n, values[n]) for n in output]
                role = "weight" if reader is not None else "activation"
                key = (name.removesuffix(".weight") if reader is not None else name, role, token)
                self.measured.setdefault(key, []).append(compared(kind, logits, found, labels))

    def _run(
        self, trace: Trace, node: fx.Node, values: dict[fx.Node, Any], changed: dict[fx.Node, Any]
    ) -> Any:
        def value(source: fx.Node) -> Any:
            if source in changed:
                return changed[source]
            return values[source] if source in values else trace.float_value(source)

        if quantizer_of(self.net, node) is not None:
            return value(node.all_input_nodes[0])
        args, kwargs = fx.map_arg(node.args, value), fx.map_arg(node.kwargs, value)
        return run_node(trace.module, node, args, kwargs)

    def rows(self) -> list[Sensitivity]:
        """Means over images with standard errors."""
        found = []
        for (tensor, role, token), parts in self.measured.items():
            each = torch.cat(parts).double()
            error = float(each.std() / math.sqrt(len(each))) if len(each) > 1 else math.nan
            found.append(Sensitivity(tensor, role, token, float(each.mean()), error))
        return found


def _behind(trace: Trace, start: fx.Node) -> list[fx.Node]:
    """Activations that depend on the quantizer `start`, of a weight through every layer that reads it."""
    reached = {start}
    found = []
    for node in trace.order:
        if node not in reached and any(source in reached for source in node.all_input_nodes):
            reached.add(node)
            found.append(node)
    return found


def _by_curvature(
    base: Network,
    plain: Network,
    images: Tensor,
    tokens: Sequence[str],
    kind: Literal["hessian", "fisher"],
    config: PtqConfig,
    seed: int,
    batch: int,
) -> list[Sensitivity]:
    probe = _Probe(base, config, seed, tokens, ())
    trace = Trace(base, [images[:1]])
    paths = {q.name: q.parameter for q in weight_readers(base).values() if q.parameter is not None}
    found = curvatures(plain, sorted(set(paths.values())), batched(images, batch), kind, seed)
    rows = []
    for node in probe.weight_nodes:
        weight = cast(Tensor, trace.float_value(node))
        for token, quantizer in probe.quantizers[node].items():
            path = paths.get(quantizer.name)
            if path is None:
                continue
            range_weight(quantizer, weight, config)
            with torch.no_grad():
                change = (quantizer(weight) - weight).double().square()
            value, error = found[path].cost(change)
            rows.append(Sensitivity(quantizer.name.removesuffix(".weight"), "weight", token, value, error))
    return rows
