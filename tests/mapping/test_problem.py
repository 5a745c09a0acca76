"""Problem: extents of tiles and what it refuses."""

import re

import pytest

from bitjoule.mapping.problem import Problem


def test_extents_are_bounding_boxes() -> None:
    conv = Problem("c", (2, 1, 8, 3, 4, 5, 3, 2), stride=(2, 3), dilation=(1, 2))
    tile = (1, 1, 4, 3, 2, 5, 3, 2)
    assert conv.extents("weights", tile) == (1, 4, 3, 3, 2)
    assert conv.extents("inputs", tile) == (1, 1, 3, 1 + 2 + 2, 1 + 12 + 2)
    assert conv.extents("outputs", tile) == (1, 1, 4, 2, 5)
    assert conv.elements("outputs") == 2 * 8 * 4 * 5
    assert conv.macs == 2 * 8 * 3 * 4 * 5 * 3 * 2
    assert conv.bound("S") == 2


def test_pad_cells_count_as_data() -> None:
    """A 224 image under a 3x3 window of stride 2 reads 225 rows, as in Timeloop."""
    assert Problem("l0", (1, 1, 32, 3, 112, 112, 3, 3), stride=(2, 2)).elements("inputs") == 3 * 225 * 225


@pytest.mark.parametrize(
    ("bounds", "options", "text"),
    [
        ((0,), {}, "layer 'x': N must be a whole number >= 1, not 0"),
        ((True,), {}, "layer 'x': N must be a whole number >= 1, not True"),
        ((1,), {"stride": (1, 0)}, "layer 'x': stride_w must be a whole number >= 1, not 0"),
        ((1,), {"dilation": (1.5, 1)}, "layer 'x': dilation_h must be a whole number >= 1, not 1.5"),
        ((1,), {"psum_bits": 300}, "layer 'x': psum_bits must be 1..256, not 300"),
        ((1,), {"weight_bits": 0}, "layer 'x': weight_bits must be 1..256, not 0"),
    ],
)
def test_refusals(bounds: tuple[int], options: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        Problem("x", (*bounds, 1, 1, 1, 1, 1, 1, 1), **options)  # type: ignore[arg-type]
