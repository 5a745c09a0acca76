"""`ptq`: from a float network and some images to a network of fixed scales that a scheme describes.

The order of steps is that of section 1 of `ptq.md`; each step is a function that can be called alone.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx

from bitjoule.network import Network
from bitjoule.network.statistics import edge_statistics
from bitjoule.quant import FakeQuantizer
from bitjoule.quant.sva import SvaQuantizer
from bitjoule.scheme import Scheme, parse_scheme
from bitjoule.train.ptq.check import batched, check_network, check_request, gathered, image_shape
from bitjoule.train.ptq.clock import Clock
from bitjoule.train.ptq.config import ENOUGH_IMAGES, PRESETS, Preset, PtqConfig, PtqWarning, preset_config
from bitjoule.train.ptq.datafree import means_of, quantize_without_data
from bitjoule.train.ptq.float_rest import FloatRest, importance_of
from bitjoule.train.ptq.layerwise import LayerPass
from bitjoule.train.ptq.memory import halving
from bitjoule.train.ptq.place import placed
from bitjoule.train.ptq.prepare import prepared, pruned_scheme
from bitjoule.train.ptq.reconstruct import Learning, reconstruct
from bitjoule.train.ptq.report import QuantizationReport, QuantizedNetwork
from bitjoule.train.ptq.shared import shared_grams
from bitjoule.train.ptq.synthetic import synthetic_images
from bitjoule.train.ptq.trace import Trace
from bitjoule.train.ptq.units import units
from bitjoule.train.ptq.vectors import TermBudget, spread
from bitjoule.train.ptq.verify import round_biases, verify_widths

__all__ = ["ptq"]

_BUDGET_IMAGES = 128


def ptq(
    net: Network,
    calibration_images: Tensor | np.ndarray[Any, Any] | Iterable[Any] | None,
    scheme: Scheme | str,
    *,
    preset: Preset = "fast",
    config: PtqConfig | None = None,
    evaluate: Callable[[Network], float] | None = None,
    seed: int = 0,
    progress: Callable[[str], object] | None = None,
) -> QuantizedNetwork:
    """Quantize a trained network after training; `net` itself is never changed, labels are never read.

    calibration_images
        float32 (N, ...) as the network takes them; also an array, or an iterable of batches. The first
        `calibration_count` are used: 512, or with preset `best` 1,024 where as many are given.
    config
        a recipe in the place of the preset's.
    evaluate
        called on the float and on the final network only; the two numbers go into the report.
    progress
        called with a line of text at every step.

    Raises:
        PtqError: see `train.ptq.check`; also a Format that cannot be quantized after training.
        SchemeError: the scheme does not parse, or an override matches no layer.

    >>> from bitjoule import zoo
    >>> from bitjoule.network import capture
    >>> net = capture(zoo.tfc(inputs=64), input_shape=(1, 1, 8, 8)).eval()
    >>> quantized = ptq(net, torch.rand(64, 1, 8, 8), "w4a4")
    >>> quantized.quantization_report.rows[0].format
    'UINT8'
    """
    check_request(scheme, config, seed)
    settings = preset_config(preset) if config is None else config
    parsed = pruned_scheme(parse_scheme(scheme) if isinstance(scheme, str) else scheme, settings)
    say = progress or (lambda _text: None)
    clock = Clock()
    with clock("check"):
        check_network(net)
        without = settings.synthetic_level == 1 and calibration_images is None
    images = None
    if not without:
        images = _images(net, calibration_images, settings, preset, seed, clock, say)
    float_accuracy = evaluate(net) if evaluate is not None else None
    with clock("graph"):
        say("folding batch norm")
        plain = prepared(net, parsed, settings, images)
        signed = images is None or bool((images < 0).any())
        quantized = _placed(plain, parsed, settings, signed)
    if images is None:
        with clock("ranges from statistics"):
            rows, notes = quantize_without_data(plain, quantized, settings)
    else:
        quantized, work = _calibrated(plain, quantized, images, parsed, settings, seed, say)
        rows, notes = work.rows, work.notes
        asked = settings.calibration_count
        asked = ENOUGH_IMAGES if asked == PRESETS["best"].calibration_count else asked
        if len(images) < asked:
            notes.append(f"{len(images)} calibration images where {asked} were asked for")
        clock.seconds |= work.seconds
        cut = (settings.prune or "").startswith("channels")  # batch norms knew the channels that are gone
        if calibration_images is not None and work.drift.warning and not cut:
            warnings.warn(f"ptq: {work.drift.warning}", PtqWarning, stacklevel=2)
            notes.append(work.drift.warning)
    with clock("biases"):
        unrounded = round_biases(quantized)
    if unrounded:
        notes.append(
            f"the biases of {len(unrounded)} layers stay float (first: {unrounded[0]}): "
            "their inputs or weights have no single scale"
        )
    with clock("verify"):
        verify_widths(quantized, _probe(net, seed) if images is None else images)
    quantized = quantized.to(memory_format=torch.contiguous_format).eval()
    accuracy = evaluate(quantized) if evaluate is not None else None
    report = QuantizationReport(
        scheme=str(parsed),
        preset=preset if config is None else "custom",
        config=settings,
        seed=seed,
        images=0 if images is None else len(images),
        rows=tuple(rows.values()),
        seconds=clock.seconds,
        notes=tuple(dict.fromkeys((*quantized.notes, *notes))),
        float_accuracy=float_accuracy,
        accuracy=accuracy,
    )
    return QuantizedNetwork(quantized, report)


def _images(
    net: Network,
    given: Tensor | np.ndarray[Any, Any] | Iterable[Any] | None,
    config: PtqConfig,
    preset: str,
    seed: int,
    clock: Clock,
    say: Callable[[str], object],
) -> Tensor:
    """Calibration images: those given, else synthetic ones where the config says so."""
    if given is not None or config.synthetic_level == 0:
        with clock("check"):
            return gathered(given, net, config.calibration_count, preset)
    with clock("synthetic images"):
        return synthetic_images(
            net, config.calibration_count, batch=config.batch_size, seed=seed, progress=say
        ).images


def _placed(plain: Network, scheme: Scheme, settings: PtqConfig, signed: bool) -> Network:
    return placed(
        plain,
        scheme,
        asymmetric_below_bits=settings.asymmetric_below_bits,
        image_signed=signed,
        per_tensor=settings.per_tensor,
    )


def _calibrated(
    plain: Network,
    quantized: Network,
    images: Tensor,
    scheme: Scheme,
    settings: PtqConfig,
    seed: int,
    say: Callable[[str], object],
) -> tuple[Network, LayerPass]:
    """`quantized` after the pass over its graph, in smaller batches where memory ends; and the pass."""
    statistics = edge_statistics(plain)

    def attempt(size: int) -> tuple[Network, LayerPass]:
        net = quantized
        if size != settings.batch_size:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PtqWarning)  # given at the first attempt
                net = _placed(plain, scheme, settings, bool((images < 0).any()))
        net = net.to(memory_format=torch.channels_last)
        trace = Trace(net, batched(images, size))
        work = LayerPass(trace, settings, seed, len(images), statistics=statistics)
        work.budget = _terms(net, images[:_BUDGET_IMAGES], settings, seed)
        work.notes += [work.budget.note] if work.budget.note else []
        if settings.bias_correction == "analytic":
            work.means = means_of(plain)
        if work.shared and settings.rounding != "nearest":
            again = LayerPass(Trace(net, trace.images), settings, seed, len(images))
            work.pooled = shared_grams(again)
        with torch.no_grad():
            outputs = [plain(batch) for batch in trace.images] if settings.reconstruct != "none" else []
        run(work, outputs, say)
        return net, work

    return halving(settings.batch_size, attempt, say)


@torch.no_grad()
def _terms(net: Network, images: Tensor, settings: PtqConfig, seed: int) -> TermBudget:
    """Terms of SVA weights under a budget, errors weighted by what the float network feeds them."""
    if not settings.budget_terms and not settings.iso_terms:
        return TermBudget()
    trace = Trace(net, batched(images, settings.batch_size))
    work = LayerPass(trace, settings, seed, len(images))
    weights: dict[FakeQuantizer, Tensor] = {}
    squares: dict[FakeQuantizer, Tensor] = {}
    for place, node in enumerate(trace.order):
        trace.run_float(node)
        quantizer = work.readers.get(node)
        if isinstance(quantizer, SvaQuantizer) and quantizer not in weights:
            weights[quantizer] = trace.float_value(cast(fx.Node, node.args[1])).flatten(1)
            squares[quantizer] = work.squares(node, quantizer)
        trace.forget(place, set())
    return spread(weights, squares, settings)


def _probe(net: Network, seed: int) -> Tensor:
    """Noise on which levels are counted where there are no images."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((32, *image_shape(net)), generator=generator)


@torch.no_grad()
def run(work: LayerPass, outputs: list[Tensor], say: Callable[[str], object]) -> None:
    """Every unit of the graph in order: node by node, then together where the config asks for it.

    `outputs`: the float network's results, by which units are judged; may be empty without reconstruction.
    """
    trace, config = work.trace, work.config
    place = 0
    for unit in units(trace):
        read = {s for n in unit for s in n.all_input_nodes if s in trace.activations}
        read -= {node for node in unit if node.op != "placeholder"}
        learns = reconstructs(work, unit)
        trace.held = read if learns else set()
        for node in unit:
            weights = work.readers.get(node)
            if weights is not None:
                say(f"{weights.name}: {weights.tensor_format}")
            work.step(node)
            trace.forget(place, trace.held)
            place += 1
        if learns:
            say(f"reconstructing the unit that ends with {unit[-1].name}")
            begin = time.perf_counter()
            rest = FloatRest.after(trace, place - 1) if outputs else None
            importance = judge = None
            if rest is not None:
                judge = partial(rest.divergence, outputs=outputs)
                if config.reconstruct_loss == "fisher":
                    importance = importance_of(rest.gradients(trace.quantized[unit[-1]], outputs))
            result = reconstruct(
                trace,
                unit,
                work.readers,
                importance,
                learning_of(config),
                work.seed,
                {q: (weight, work.kept[q]) for q, weight in work.solved.items()},
                work.shared,
                judge,
            )
            trace.held = set()
            if result is not None:
                work.reconstructed(unit, result)
            trace.forget(place - 1, set())
            work.seconds["reconstruction"] = (
                work.seconds.get("reconstruction", 0.0) + time.perf_counter() - begin
            )


def reconstructs(work: LayerPass, unit: list[fx.Node]) -> bool:
    """Whether the config asks for this unit to be learned."""
    if work.config.reconstruct == "none" or not any(node in work.readers for node in unit):
        return False
    formats = [point.format.format for point in work.assignment.points]
    return any(f.bits <= work.config.reconstruct_up_to_bits for f in formats)


def learning_of(config: PtqConfig) -> Learning:
    """The learning that a config asks for."""
    return Learning(iterations=config.iterations, drop=config.drop)
