"""Families are told apart by colour and marker; text keeps its contrast in both colour schemes."""

import re
from importlib.resources import files

import pytest

from bitjoule.report.palette import (
    FAMILY_COLORS,
    MARKERS,
    OKABE_ITO,
    component_colors,
    family_styles,
    marker_path,
)


def test_every_family_has_a_colour_and_marker_of_its_own() -> None:
    styles = family_styles([f"family {i}" for i in range(len(MARKERS) * len(FAMILY_COLORS))])
    assert len({(style.color, style.marker) for style in styles}) == 144
    assert len({style.marker for style in styles[:9]}) == 9
    assert len({style.color for style in styles[:16]}) == 16
    assert tuple(style.color for style in styles[:8]) == OKABE_ITO


@pytest.mark.parametrize("marker", MARKERS)
def test_markers_are_closed_paths_around_the_origin(marker: str) -> None:
    path = marker_path(marker)
    assert path.startswith("M")
    assert path.endswith("z")
    assert max(abs(float(number)) for number in re.findall(r"-?[\d.]+", path)) <= 10


def test_an_unknown_marker_names_the_known() -> None:
    with pytest.raises(ValueError, match=r"no marker 'blob'; markers: circle, square, diamond"):
        marker_path("blob")


def test_dram_and_arithmetic_keep_their_colours() -> None:
    assert component_colors(["level:DRAM", "mac", "level:glb"]) == ("#D55E00", "#009E73", "#0072B2")
    assert len(component_colors([f"level:{i}" for i in range(9)])) == 9
    core = component_colors(["level:dmem", "level:dram", "level:pmem", "mac", "op:add", "op:epilogue"])
    assert len(set(core)) == 6


def luminance(color: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, two: str) -> float:
    high, low = sorted((luminance(one), luminance(two)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_colours_beyond_okabe_and_ito_are_seen_on_light_and_dark_cards() -> None:
    for color in FAMILY_COLORS[len(OKABE_ITO) :]:
        assert contrast(color, "#ffffff") >= 3, color
        assert contrast(color, "#191f27") >= 3, color


def palettes() -> list[dict[str, str]]:
    """The colour variables of each block of page.css that sets them: light, dark twice, print."""
    css = files("bitjoule.report").joinpath("page", "page.css").read_text()
    blocks = [
        dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block)) for block in re.findall(r"\{([^{}]*)\}", css)
    ]
    return [block for block in blocks if "ink" in block]


def test_text_has_a_contrast_of_at_least_4_5() -> None:
    found = palettes()
    assert len(found) == 4
    for block in found:
        for text in ("ink", "soft", "accent", "good", "bad"):
            for behind in ("page", "card"):
                assert contrast(block[text], block[behind]) >= 4.5, (text, behind, block)
        for text in ("ink", "soft", "accent"):
            assert contrast(block[text], block["tint"]) >= 4.5
        assert contrast(block["ink"], block["rule"]) >= 4.5
        assert contrast(block["soft"], block["rule"]) >= 4.5


def test_dark_by_preference_and_by_button_are_the_same() -> None:
    _, preferred, chosen, _ = palettes()
    assert preferred == chosen


def test_memories_of_one_hardware_differ_and_take_their_colours_before_operations() -> None:
    eyeriss = ["level:dram", "level:glb", "level:ifmap_rf", "level:filter_rf", "level:psum_rf", "mac"]
    small = ["op:add", "op:relu", "noc:glb", "op:pool"]
    simba = ["level:dram", "level:glb", "level:weights", "level:inputs", "level:sums", "mac", "op:add"]
    moons = ["moons:dram", "moons:main", "moons:local", "moons:compute"]
    every = sorted({*eyeriss, *small, *simba, *moons})
    colors = dict(zip(every, component_colors(every, [eyeriss + small, simba, moons]), strict=True))
    for group in (eyeriss, simba[:-1], moons):
        assert len({colors[name] for name in group}) == len(group)
        assert "#8A929C" not in {colors[name] for name in group}
    assert colors["moons:compute"] == colors["mac"] == "#009E73"
