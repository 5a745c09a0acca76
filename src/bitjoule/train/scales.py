"""The scales that a method needs: a Scheme gives float scales, and to weights one per channel; TQT learns
powers of two, LSQ+ an offset, and DoReFa has one scale per tensor.

A Scheme names Formats; what a method is asked for by name may want another kind of scale for the same Format.
Only tensors that have the scheme's own Formats follow the method, and never the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from bitjoule.formats import TensorFormat
from bitjoule.quant import METHODS, QuantizerConfig
from bitjoule.quant.config import Role
from bitjoule.workload import Assignment

__all__ = ["fitted", "fitted_assignment"]


def fitted(
    tensor_format: TensorFormat, config: QuantizerConfig | None, role: Role, *, zero_point: bool = False
) -> TensorFormat:
    """`tensor_format` with the scales of the method: powers of two for `tqt`, one alone for `dorefa`, and a
    zero-point where it is asked for.

    What the method cannot train either way stays as it is, and is refused where its quantizer is made.

    >>> from bitjoule.formats import parse_tensor_format
    >>> str(fitted(parse_tensor_format("INT4_NARROW/channel"), QuantizerConfig("tqt"), "weight"))
    'INT4_NARROW/channel*pot'
    """
    if config is None:
        return tensor_format
    scaling = tensor_format.scaling
    if config.method == "tqt" and scaling.kind == "float":
        scaling = replace(scaling, kind="pot")
    if config.method == "dorefa" and scaling.granularity == "channel":
        scaling = replace(scaling, granularity="tensor")
    if zero_point and tensor_format.format.affine:
        scaling = replace(scaling, zero_point=True)
    if scaling == tensor_format.scaling or tensor_format.format.fixed_scale is not None:
        return tensor_format
    made = replace(tensor_format, scaling=scaling)
    return made if METHODS[config.method].accepts(made, role) else tensor_format


def fitted_assignment(
    assignment: Assignment,
    weight: QuantizerConfig | None,
    activation: QuantizerConfig | None,
    *,
    zero_point: bool = False,
) -> Assignment:
    """`assignment` with every Format that is the scheme's own as `fitted` makes it."""
    scheme = assignment.scheme
    weights = {scheme.weights: fitted(scheme.weights, weight, "weight")}
    activations = {
        found: fitted(found, activation, "activation", zero_point=zero_point)
        for found in (scheme.activation(signed=False), scheme.activation(signed=True))
    }
    if all(old == new for old, new in (*weights.items(), *activations.items())):
        return assignment
    inputs = {point.tensor for point in assignment.points if point.kind == "input"}
    read_inputs = {reader for p in assignment.points if p.kind == "input" for reader in p.readers}

    def other(found: TensorFormat | None) -> TensorFormat | None:
        return None if found is None else activations.get(found, found)

    return replace(
        assignment,
        weights=_mapped(assignment.weights, weights),
        stored={t: f if t in inputs else other(f) for t, f in assignment.stored.items()},
        reads={r: f if r in read_inputs else other(f) for r, f in assignment.reads.items()},
        points=tuple(
            p if p.kind == "input" else replace(p, format=activations.get(p.format, p.format))
            for p in assignment.points
        ),
    )


def _mapped(
    formats: Mapping[str, TensorFormat], others: Mapping[TensorFormat, TensorFormat]
) -> dict[str, TensorFormat]:
    return {name: others.get(found, found) for name, found in formats.items()}
