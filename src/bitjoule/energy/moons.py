"""The closed form of Moons et al. 2017, "Minimum Energy Quantized Neural Networks" (arXiv 1711.00215).

    (3) E_inf  = E_DRAM + E_HW
    (4) E_DRAM = E_D * (n_in*M/Q + 2*f_re + s_re)
    (5) E_HW   = E_C + E_W + E_A
        E_C = E_MAC*(N_c + 3*A_s)    E_W = E_M*N_s + E_L*N_c/sqrt(p)    E_A = 2*E_M*A_s + E_L*N_c/sqrt(p)
        e(q) = e_mac16_pj*(q/16)^exponent   E_M, E_L, E_D = main, local, dram_ratio * e   p = p16*16/q

Computed layer by layer with a width per tensor: q_w weights, q_a input, q_o output, q = the width of the
MAC (`mac_width_rule`). With one width it is the paper's form to rounding. Formats enter by their storage
bits only; weights whose storage was measured by that, rounded up to whole bits. A branching network counts
each tensor once; a residual add is one of the three operations per output (bias, batch norm, activation);
pooling is free. A weight that several layers read (one module called five times) is stored once: it fills
the memory once, N_s in the excess s_re. Reading is counted for every call: main memory, and DRAM for the
share that does not fit.

What it is not: a memory hierarchy, a dataflow, or a schedule. Latency is ceil(N_c/p) cycles per layer,
the array always full [assumed].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bitjoule.energy.cost import Cost, CostItem
from bitjoule.energy.measured_notes import measured_notes
from bitjoule.energy.operations import FREE_KINDS
from bitjoule.energy.sparsity_notes import sparsity_notes
from bitjoule.hardware import Hardware, MoonsSection
from bitjoule.hardware.mac_units import integer_width
from bitjoule.workload import Layer, Workload

__all__ = ["LayerWidths", "moons"]

OPERATIONS_PER_OUTPUT = 3
"""Bias, batch norm, activation."""

IN_THE_FORM = frozenset(
    {"batch_norm", "relu", "relu6", "hardtanh", "max_pool", "avg_pool", "global_avg_pool"}
)
"""Operators that the three operations per output stand for, and pooling, which is free."""

DRAM, COMPUTE, MAIN, LOCAL = "moons:dram", "moons:compute", "moons:main", "moons:local"

RULE_KEYS = (
    *("weight_share", "input_share", "s_re_rule", "f_re_rule", "mac_width_rule", "first_layer_slices"),
    *("biases_counted", "e_mac16_pj", "exponent", "dram_ratio"),
)
"""What stands beside every number: the parameters and rules that move it."""

PRICE_KEYS = {
    DRAM: ("dram_ratio", "e_mac16_pj"),
    COMPUTE: ("e_mac16_pj", "exponent"),
    MAIN: ("main_ratio", "e_mac16_pj"),
    LOCAL: ("local_ratio", "p16"),
}


@dataclass(frozen=True)
class LayerWidths:
    """Storage bits of a layer's weights, input and output as the closed form prices them."""

    weights: int
    inputs: int
    outputs: int

    @classmethod
    def of(cls, layer: Layer) -> LayerWidths:
        """Widths of `layer`; two rules of the paper's counting are here.

        A layer that reads the image with MOONS weights of b bits takes it in slices of b bits. Results that
        stay accumulators (INT32, the logits) are priced at the wider operand.
        """
        measured = layer.measured_weight_bits is not None
        weights = layer.stored_bits_per_weight if measured else layer.weight_bits
        inputs = layer.input_bits
        weight_format, output_format = layer.weight_format, layer.output_format
        if (
            layer.reads_network_input
            and weight_format is not None
            and weight_format.format.name.startswith("MOONS")
        ):
            inputs = weights
        accumulator = output_format is not None and output_format.format.name == "INT32"
        return cls(weights, inputs, max(weights, inputs) if accumulator else layer.output_bits)


def moons(workload: Workload, hardware: Hardware) -> Cost:
    """Energy of one inference in the closed form.

    Items per layer: "moons:dram" (weights, inputs, outputs), "moons:compute", "moons:main" (weights,
    outputs), "moons:local" (weights, inputs); E_DRAM, E_C, E_W, E_A are their sums.

    Raises:
        ValueError: `hardware` is not of kind moons.
    """
    section = hardware.moons
    if section is None:
        raise ValueError(
            f"hardware {hardware.name!r} is of kind {hardware.kind}, the closed form needs kind moons"
        )
    widths = {layer.name: LayerWidths.of(layer) for layer in workload.layers}
    fetched_share = _fetched_share(workload, widths, section)
    pricing = _Pricing(section, fetched_share)
    image_read: set[str] = set()
    items: list[CostItem] = []
    latency: dict[str, int] = {}
    footprint: dict[tuple[str, str], int] = {}
    for layer in workload.layers:
        width = widths[layer.name]
        image = layer.inputs[0] if layer.inputs else layer.name
        fetches_image = layer.reads_network_input and image not in image_read
        if fetches_image:
            image_read.add(image)
        items += pricing.items(layer, width, fetches_image=fetches_image)
        latency[layer.name] = math.ceil(pricing.macs(layer, width) / pricing.parallel(width))
        footprint[layer.name, "main"] = pricing.held_bits(layer, width)
    return Cost(
        items=tuple(items),
        latency_cycles=latency,
        footprint_bits=footprint,
        macs={layer.name: layer.macs for layer in workload.layers},
        network=workload.network,
        scheme=workload.scheme,
        hardware=hardware.name,
        hardware_hash=hardware.hash,
        outermost=DRAM,
        notes=(*_notes(section, workload), *sparsity_notes(workload), *measured_notes(workload)),
        provenance={
            component: "; ".join(f"{key}: {hardware.source_of(f'moons.{key}').status}" for key in keys)
            for component, keys in PRICE_KEYS.items()
        },
    )


def _weight_words(layer: Layer, width: LayerWidths, section: MoonsSection) -> float:
    """N_s of one layer, in words of q_w bits; what stands beside the weights, the places of survivors under
    N:M and the scales of groups and blocks, as such words. Measured storage is as many words as it fills.
    """
    counted = layer.sparsity or layer.shared_scale_bits or layer.measured_weight_bits is not None
    weights = layer.weight_storage_bits / width.weights if counted else layer.weight_elements
    return weights + (layer.bias_elements if section.biases_counted else 0)


def _fetched_share(workload: Workload, widths: dict[str, LayerWidths], section: MoonsSection) -> float:
    """Share of every layer's weights that is fetched from DRAM: X / sum(N_s*q_w), over stored words."""
    if section.on_chip_bits == "unbounded":
        return 0.0
    weights = {layer.stored_weight: layer.weight_storage_bits for layer in workload.layers}
    biases = {
        layer.stored_bias: layer.bias_elements * widths[layer.name].weights
        for layer in workload.layers
        if layer.bias and section.biases_counted
    }
    total = sum(weights.values()) + sum(biases.values())
    excess = max(0.0, total - section.weight_share * section.on_chip_bits)
    if not excess:
        return 0.0
    return 1.0 if section.s_re_rule == "all" else excess / total


@dataclass(frozen=True)
class _Pricing:
    """The formulas per layer, with the parameters of one hardware."""

    section: MoonsSection
    fetched_share: float

    def word_pj(self, bits: float) -> float:
        """e(q), the energy of a q-bit MAC."""
        return self.section.e_mac16_pj * float((bits / 16) ** self.section.exponent)

    def mac_width(self, width: LayerWidths) -> float:
        if self.section.mac_width_rule == "max":
            return max(width.weights, width.inputs)
        return math.sqrt(width.weights * width.inputs)

    def parallel(self, width: LayerWidths) -> float:
        """p."""
        return self.section.p16 * 16 / self.mac_width(width)

    def macs(self, layer: Layer, width: LayerWidths) -> float:
        """N_c; the first layer's in slices of the image when the rule says so."""
        slices = layer.reads_network_input and self.section.first_layer_slices
        return layer.macs * self.section.input_bits / width.inputs if slices else layer.macs

    def output_room_bits(self) -> float:
        """M_Aout."""
        section = self.section
        if section.on_chip_bits == "unbounded":
            return math.inf
        return (1 - section.weight_share) * (1 - section.input_share) * section.on_chip_bits

    def spilled_outputs(self, layer: Layer, width: LayerWidths) -> float:
        """f_re of one layer."""
        if self.section.f_re_rule == "none":
            return 0.0
        return max(0.0, layer.output_elements - self.output_room_bits() / width.outputs)

    def held_bits(self, layer: Layer, width: LayerWidths) -> int:
        """Bits of this layer's weights and outputs in main memory."""
        weights = _weight_words(layer, width, self.section) * width.weights * (1 - self.fetched_share)
        outputs = min(float(layer.output_elements * width.outputs), self.output_room_bits())
        return round(weights + outputs)

    def items(self, layer: Layer, width: LayerWidths, *, fetches_image: bool) -> list[CostItem]:
        section = self.section
        e_w, e_a, e_o = (self.word_pj(bits) for bits in (width.weights, width.inputs, width.outputs))
        macs, outputs = self.macs(layer, width), layer.output_elements
        words = _weight_words(layer, width, section)
        local = macs / math.sqrt(self.parallel(width))
        found = [
            self.item(layer, COMPUTE, "none", "compute", macs, self.word_pj(self.mac_width(width))),
            self.item(layer, COMPUTE, "outputs", "compute", OPERATIONS_PER_OUTPUT * outputs, e_o),
            self.item(layer, MAIN, "weights", "read", words, section.main_ratio * e_w, width.weights),
            self.item(layer, MAIN, "outputs", "write", outputs, section.main_ratio * e_o, width.outputs),
            self.item(layer, MAIN, "outputs", "read", outputs, section.main_ratio * e_o, width.outputs),
            self.item(layer, LOCAL, "weights", "read", local, section.local_ratio * e_w, width.weights),
            self.item(layer, LOCAL, "inputs", "read", local, section.local_ratio * e_a, width.inputs),
        ]
        if fetches_image:
            image = layer.input_elements * section.input_bits / width.inputs
            found.append(
                self.item(layer, DRAM, "inputs", "read", image, section.dram_ratio * e_a, width.inputs)
            )
        spilled = self.spilled_outputs(layer, width)
        for action in ("write", "read") if spilled else ():
            found.append(
                self.item(layer, DRAM, "outputs", action, spilled, section.dram_ratio * e_o, width.outputs)
            )
        fetched = words * self.fetched_share
        if fetched:
            found.append(
                self.item(layer, DRAM, "weights", "read", fetched, section.dram_ratio * e_w, width.weights)
            )
        return found

    def item(
        self,
        layer: Layer,
        component: str,
        tensor: str,
        action: str,
        words: float,
        price_pj: float,
        bits: int = 0,
    ) -> CostItem:
        """One term: `words` words at `price_pj` each; words may be fractional, their count is rounded."""
        return CostItem(
            layer.name, component, tensor, action, round(words), words * price_pj, round(words * bits)
        )


def _extrapolated(layer: Layer) -> set[str]:
    """Names of the formats of `layer` that the paper does not cover: all but integers."""
    found = set()
    for tensor_format in (layer.weight_format, layer.input_format, layer.output_format):
        if tensor_format is None:
            found.add("FLOAT32")
        elif integer_width(tensor_format.format) is None:
            found.add(tensor_format.format.name)
    return found


def _rule_text(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _notes(section: MoonsSection, workload: Workload) -> tuple[str, ...]:
    memory = "unbounded" if section.on_chip_bits == "unbounded" else f"{section.on_chip_bits:,} bits"
    rules = (
        f"on chip {memory}",
        *(f"{key} {_rule_text(getattr(section, key))}" for key in RULE_KEYS),
    )
    notes = [f"Moons et al. 2017 closed form; {', '.join(rules)}"]
    floats = sorted(set().union(*(_extrapolated(layer) for layer in workload.layers)))
    if floats:
        notes.append(
            f"model extrapolated: {', '.join(floats)} by storage bits, the paper has integers of 1 to 16"
        )
    if "+" in workload.scheme:
        notes.append(_repairs_note(workload))
    return tuple(notes)


def _repairs_note(workload: Workload) -> str:
    """What a repaired binary network does that the closed form has no term for."""
    kinds: dict[str, int] = {}
    for operation in workload.operations:
        if operation.kind not in IN_THE_FORM | FREE_KINDS:
            kinds[operation.kind] = kinds.get(operation.kind, 0) + operation.elements
    listed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items())) or "none here"
    return (
        "the closed form counts layers that repairs add, not their element operations ("
        + listed
        + ") beyond "
        "three per output of a layer, nor the traffic of tensors that only such operations read"
    )
