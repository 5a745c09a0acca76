"""A Timeloop architecture as an Accelerator on which a given mapping is counted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bitjoule.hardware.load import load
from bitjoule.hardware.timeloop import read_timeloop
from bitjoule.mapping.accelerator import Accelerator
from bitjoule.mapping.hardware_levels import accelerator_of

__all__ = ["TimeloopAccelerator", "read_accelerator"]


@dataclass(frozen=True)
class TimeloopAccelerator:
    """The Accelerator, the energy of a MAC, and what else the files say (see `hardware/timeloop.py`)."""

    accelerator: Accelerator
    mac_pj: float
    priced: bool = True
    notes: tuple[str, ...] = ()
    areas_um2: Mapping[str, float] = field(default_factory=dict)


def read_accelerator(
    architecture: Path | str, ert: Path | str | None = None, art: Path | str | None = None
) -> TimeloopAccelerator:
    """Read an architecture without its constraints, which bound a search and not a given mapping.

    Raises:
        TimeloopError: a file or key that cannot be read.
        HardwareError: numbers that no hardware of ours can have.
    """
    files = read_timeloop(architecture, ert, art, constraints=False)
    hardware = load(files.document)
    mac = hardware.mac
    if mac is None or mac.anchor_pj is None:
        raise ValueError(f"{architecture}: the MAC has no energy")
    return TimeloopAccelerator(
        accelerator_of(hardware), mac.anchor_pj, files.priced, files.notes, files.areas_um2
    )
