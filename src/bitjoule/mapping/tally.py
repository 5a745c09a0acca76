"""Element counts of a mapping: what moves at every level, before packing and pricing.

Both the closed form (`counts`) and the slow walk (`interpreter`) fill these records, so they can be compared
with `==`. All counts are elements per instance and run.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Counts", "LevelTally", "TensorTally"]


@dataclass(frozen=True, slots=True)
class TensorTally:
    """One tensor at one level that keeps it, elements per instance over the whole run (E1-E4).

    `tile`: bounding box held. `reads`, `fills`, `updates` as in E4 (`reads` with the drains of a level of
    `charge_drain`). `first_updates`: outputs that start from zero here (U). `partial`: more updates than U.
    `final_updates`: updates that are stored as results rather than partial sums.
    """

    tensor: str
    tile: int
    reads: int
    fills: int
    updates: int
    first_updates: int
    final_updates: int
    partial: bool


@dataclass(frozen=True, slots=True)
class LevelTally:
    """One level: `instances` in use, and the tensors it keeps in the order of TENSORS."""

    name: str
    instances: int
    tensors: tuple[TensorTally, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of one mapping, levels innermost first.

    `steps`: product of all temporal bounds. `mac_instances`: MAC units in use.
    """

    macs: int
    mac_instances: int
    steps: int
    levels: tuple[LevelTally, ...]
