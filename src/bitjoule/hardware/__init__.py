"""Where it is computed: validated descriptions, presets, and energy tables with their sources.

The room can be called: `bitjoule.hardware("moons-4mb")` is `load`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from types import ModuleType

from bitjoule.hardware.fault import Fault, HardwareError
from bitjoule.hardware.hierarchy import FanoutSection, LevelSection, MacSection, OpsSection
from bitjoule.hardware.hierarchy_mac import is_shift_add, mac_energy_of, mac_unit_of, macs_per_cycle_of
from bitjoule.hardware.load import load, preset_text, presets
from bitjoule.hardware.mac_units import MacUnit, mac_energy_pj
from bitjoule.hardware.memory_tables import dram_pj_per_bit, memory_energy_pj
from bitjoule.hardware.scaled import scaled
from bitjoule.hardware.schema import Hardware, MoonsSection, Provenance, Technology, TtaSection
from bitjoule.hardware.technology import energy_factor

__all__ = [
    "FanoutSection",
    "Fault",
    "Hardware",
    "HardwareError",
    "LevelSection",
    "MacSection",
    "MacUnit",
    "MoonsSection",
    "OpsSection",
    "Provenance",
    "Technology",
    "TtaSection",
    "dram_pj_per_bit",
    "energy_factor",
    "is_shift_add",
    "load",
    "mac_energy_of",
    "mac_energy_pj",
    "mac_unit_of",
    "macs_per_cycle_of",
    "memory_energy_pj",
    "preset_text",
    "presets",
    "scaled",
]


class _Room(ModuleType):
    """This module, callable."""

    def __call__(self, source: str | os.PathLike[str] | Mapping[str, object]) -> Hardware:
        """`load`: the Hardware of a preset's name, a YAML file, or a mapping of the YAML's keys."""
        return load(source)


sys.modules[__name__].__class__ = _Room
