"""What is allowed in a hardware of kind `hierarchy` and yet deserves a look."""

from __future__ import annotations

from collections.abc import Iterator

from bitjoule.hardware.hierarchy import LevelSection, MacSection

__all__ = ["hierarchy_warnings"]


def hierarchy_warnings(mac: MacSection | None, levels: tuple[LevelSection, ...]) -> tuple[str, ...]:
    """Warnings in the order of the document."""
    return (*_mac_warnings(mac), *_price_warnings(levels))


def _mac_warnings(mac: MacSection | None) -> Iterator[str]:
    if mac is not None and mac.relative == "qkeras":
        yield (
            "mac.relative: qkeras overstates the gain of few bits: its MAC energy is quadratic in the bits, "
            "measured units have exponents of 1.37 to 1.55"
        )


def _price_warnings(levels: tuple[LevelSection, ...]) -> Iterator[str]:
    """The outermost memory is DRAM; a bit of it that costs less than one of a memory inside is odd."""
    stores = [level for level in levels if level.stores]
    for inner in stores[1:]:
        outside, inside = _read_pj_per_bit(stores[0]), _read_pj_per_bit(inner)
        if outside < inside:
            yield (
                f"levels: a read of {stores[0].name!r} costs {outside:.4g} pJ per bit, less than one of "
                f"{inner.name!r} inside it ({inside:.4g}); are both in pJ per access of width_bits?"
            )


def _read_pj_per_bit(level: LevelSection) -> float:
    return level.read_energy_pj / (level.width_bits or 1)
