"""What a Cost says of measured weights, of scales in groups, and of MACs priced as shifts and adds."""

from __future__ import annotations

from bitjoule.formats import Format, parse_format
from bitjoule.hardware import Hardware, is_shift_add
from bitjoule.workload import Layer, Workload

__all__ = ["measured_notes", "shift_add_notes"]


def measured_notes(workload: Workload) -> tuple[str, ...]:
    """One line where storage of weights was measured, one where groups of weights have scales; else none.

    >>> fc = Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1, measured_weight_bits=704)
    >>> measured_notes(Workload("net", "wSVA1a8", (fc,)))
    ('stored weights of 1 of 1 layers as measured, 5.5 bits each on average',)
    """
    weighted = [layer for layer in workload.layers if layer.has_weights]
    measured = [layer for layer in weighted if layer.measured_weight_bits is not None]
    return (*_storage_note(weighted, measured), *_group_note(weighted))


def _group_note(weighted: list[Layer]) -> tuple[str, ...]:
    """Partial sums of a group must be scaled before they are added; no model has a price for that."""
    grouped = [e for e in weighted if e.weight_format and e.weight_format.scaling.granularity == "group"]
    if not grouped:
        return ()
    bits = sum(layer.shared_scale_bits for layer in grouped)
    return (
        f"scales of groups of weights in {len(grouped)} of {len(weighted)} layers: their {bits:,} bits are "
        "counted, scaling the partial sum of each group is not",
    )


def _storage_note(weighted: list[Layer], measured: list[Layer]) -> tuple[str, ...]:
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
