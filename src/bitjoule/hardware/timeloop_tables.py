"""Timeloop's energy reference table (ERT, pJ per vector access) and area reference table (ART, um^2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath

from bitjoule.hardware.timeloop_document import Node, read_yaml
from bitjoule.hardware.timeloop_factors import instances_of

__all__ = ["ACTIONS", "EnergyTable", "read_areas", "read_energies"]

ACTIONS = ("read", "write", "update", "leak", "compute")
"""Actions that are read; others in a file are ignored, as Timeloop does."""


@dataclass(frozen=True)
class EnergyTable:
    """Prices per component and action; `source` names the file."""

    source: str
    prices: Mapping[str, Mapping[str, float]]
    notes: tuple[str, ...] = ()

    def price(self, level: str, action: str) -> float:
        """Price of an action in pJ.

        Raises:
            TimeloopError: the table has no such level or action; the text names both and the file.
        """
        if level not in self.prices:
            has = ", ".join(self.prices) or "none"
            raise Node(None, self.source).fault(
                f"ERT.tables has no level {level!r}, which the architecture uses (has: {has})"
            )
        actions = self.prices[level]
        if action not in actions:
            raise Node(None, self.source).fault(
                f"ERT.tables: level {level!r} has no action {action!r} (has: {', '.join(actions) or 'none'})"
            )
        return actions[action]


def read_energies(path: FilePath | str) -> EnergyTable:
    """The ERT in a file; components are called by the last part of their path, without brackets.

    Raises:
        TimeloopError: what cannot be read, a level or action twice, an energy that is not a number >= 0.
    """
    top = read_yaml(path).at("ERT")
    _check_version(top)
    prices: dict[str, dict[str, float]] = {}
    unknown = [*top.unknown({"version", "tables"})]
    for table in top.at("tables").items():
        unknown += table.unknown({"name", "actions"})
        name = _component(table)
        if name in prices:
            raise table.at("name").fault(f"gives level {name!r} twice")
        actions: dict[str, float] = {}
        for action in table.at("actions").items():
            unknown += action.unknown({"name", "arguments", "energy"})
            kind = action.at("name").text()
            if kind in actions:
                raise action.at("name").fault(
                    f"gives {kind!r} of {name} twice; tables by argument are not read"
                )
            if kind in ACTIONS:
                actions[kind] = action.at("energy").number()
        prices[name] = actions
    return EnergyTable(str(path), prices, _note(str(path), unknown))


def read_areas(path: FilePath | str) -> dict[str, float]:
    """Area of one instance of every component in um^2, of an ART file.

    Raises:
        TimeloopError: what cannot be read, a component twice, an area that is not a number >= 0.
    """
    top = read_yaml(path).at("ART")
    _check_version(top)
    areas: dict[str, float] = {}
    for table in top.at("tables").items():
        name = _component(table)
        if name in areas:
            raise table.at("name").fault(f"gives component {name!r} twice")
        areas[name] = table.at("area").number()
    return areas


def _component(table: Node) -> str:
    """Last part of "system.PE[0..13].spad[1..1]"; dots inside brackets do not count."""
    node = table.at("name")
    whole = node.text()
    depth, start = 0, 0
    for index, letter in enumerate(whole):
        depth += {"[": 1, "]": -1}.get(letter, 0)
        if letter == "." and depth == 0:
            start = index + 1
    return instances_of(Node(whole[start:], node.source, node.path))[0]


def _check_version(top: Node) -> None:
    version = top.get("version")
    if version is not None and str(version.value) not in ("0.3", "0.4"):
        raise version.fault(f"must be '0.4', not {version.value!r}")


def _note(source: str, unknown: list[str]) -> tuple[str, ...]:
    return (f"{source}: not read: {', '.join(unknown)}",) if unknown else ()
