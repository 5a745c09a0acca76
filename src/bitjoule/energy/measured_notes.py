"""What a Cost says of weights that were measured, and of MACs that are priced as shifts and adds."""

from __future__ import annotations

from bitjoule.formats import Format, parse_format
from bitjoule.hardware import Hardware, is_shift_add
from bitjoule.workload import Layer, Workload

__all__ = ["measured_notes", "shift_add_notes"]


def measured_notes(workload: Workload) -> tuple[str, ...]:
    """One line where storage of weights was measured, none elsewhere.

    >>> fc = Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1, measured_weight_bits=704)
    >>> measured_notes(Workload("net", "wSVA1a8", (fc,)))
    ('stored weights of 1 of 1 layers as measured, 5.5 bits each on average',)
    """
    weighted = [layer for layer in workload.layers if layer.has_weights]
    measured = [layer for layer in weighted if layer.measured_weight_bits is not None]
    if not measured:
        return ()
    mean = sum(layer.weight_storage_bits for layer in measured) / sum(e.weight_elements for e in measured)
    return (
        f"stored weights of {len(measured)} of {len(weighted)} layers as measured, {mean:.4g} bits each on "
        "average",
    )


def shift_add_notes(workload: Workload, hardware: Hardware) -> tuple[str, ...]:
    """One line where `mac.shift_add` of a hierarchy prices layers: which Formats, whose terms.

    Raises:
        ValueError: a hardware of another kind.
    """
    priced = [layer for layer in workload.layers if is_shift_add(hardware, *_operands(layer))]
    if not priced:
        return ()
    names = sorted({f"{w.name} x {a.name}" for w, a in map(_operands, priced)})
    gated = [layer for layer in priced if _operands(layer)[0].traits().multiplier == "gate"]
    shifted = [layer for layer in priced if layer not in gated]
    rules = ["one add for gated weights"] if gated else []
    if shifted:
        measured = [layer for layer in shifted if layer.weight_terms is not None]
        if not measured:
            rules.append("the most terms that the Format has")
        elif len(measured) == len(shifted):
            rules.append("terms as measured")
        else:
            rules.append(f"terms as measured in {len(measured)} of {len(shifted)} layers, elsewhere the most")
    return (
        f"MACs of {', '.join(names)} priced as terms x (shift of the input + add of the accumulator): "
        + "; ".join(rules),
    )


def _operands(layer: Layer) -> tuple[Format, Format]:
    float32 = parse_format("FLOAT32")
    weight, activation = layer.weight_format, layer.input_format
    return weight.format if weight else float32, activation.format if activation else float32
