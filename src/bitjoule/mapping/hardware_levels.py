"""A Hardware of kind `hierarchy` as the mapper's Accelerator: innermost level first, numbers resolved."""

from __future__ import annotations

from collections.abc import Mapping

from bitjoule.hardware import Hardware
from bitjoule.hardware.hierarchy import AxisSection, Dim, LevelSection
from bitjoule.mapping.accelerator import Accelerator, Axis, StorageLevel
from bitjoule.mapping.problem import DIMS, TENSORS

__all__ = ["accelerator_of"]


def accelerator_of(hardware: Hardware) -> Accelerator:
    """The Accelerator of a hardware: words per instance, pJ per access, fan-outs, constraints.

    Raises:
        ValueError: a hardware of another kind.

    >>> from bitjoule.hardware import load
    >>> [level.name for level in accelerator_of(load("eyeriss")).levels]
    ['psum_rf', 'filter_rf', 'ifmap_rf', 'glb', 'dram']
    """
    if hardware.kind != "hierarchy" or hardware.mac is None:
        raise ValueError(
            f"hardware {hardware.name!r} is of kind {hardware.kind} and has no levels to map on; "
            "take one of kind hierarchy, such as eyeriss or simba"
        )
    return Accelerator(
        name=hardware.name,
        levels=tuple(_level(level) for level in reversed(hardware.levels)),
        mac_count=hardware.mac.count,
        packing=hardware.packing,
        psum_bits=hardware.psum_bits,
        mac_leak_pj_per_cycle=hardware.mac.leak_pj_per_cycle,
    )


def _level(level: LevelSection) -> StorageLevel:
    if not level.stores:
        return StorageLevel(
            name=level.name,
            keeps=(),
            words=0,
            temporal_dims=(),
            fixed_spatial=_factors(level.fixed_spatial),
            x=_axis(level.fanout.x),
            y=_axis(level.fanout.y),
        )
    return StorageLevel(
        name=level.name,
        keeps=tuple(tensor for tensor in TENSORS if tensor in level.keeps),
        words=level.words,
        word_bits=level.word_bits or 1,
        width_bits=level.width_bits or 1,
        read_pj=level.read_energy_pj,
        write_pj=level.write_energy_pj,
        update_pj=level.update_pj,
        leak_pj_per_cycle=level.leak_pj_per_cycle,
        noc_pj_per_word=level.noc_pj_per_word,
        read_words_per_cycle=level.read_words_per_cycle,
        write_words_per_cycle=level.write_words_per_cycle,
        bypass_allowed=tuple(tensor for tensor in TENSORS if tensor in level.bypass_allowed),
        temporal_dims=tuple(dim for dim in DIMS if dim in level.temporal_dims),
        temporal_order=level.temporal_order,
        fixed_temporal=_factors(level.fixed_temporal),
        max_temporal=_factors(level.max_temporal),
        fixed_spatial=_factors(level.fixed_spatial),
        cluster=level.cluster,
        charge_drain=level.charge_drain,
        residency=level.residency,
        x=_axis(level.fanout.x),
        y=_axis(level.fanout.y),
    )


def _axis(axis: AxisSection) -> Axis:
    return Axis(axis.size, tuple(dim for dim in DIMS if dim in axis.dims))


def _factors(factors: Mapping[Dim, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(factors.items(), key=lambda entry: DIMS.index(entry[0])))
