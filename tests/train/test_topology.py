"""Parameters of candidates as options of the zoo."""

import pytest

from bitjoule import zoo
from bitjoule.train import build_options


def test_blocks_become_depths_and_filters_in_order():
    topology = (("n_B", 2), ("F_B", 128), ("n_A", 1), ("F_A", 64))
    options = build_options({"classes": 10, "depths": [9]}, topology)
    assert options == {"classes": 10, "depths": [1, 2], "filters": [64, 128]}
    zoo.build("moons", {**options, "image_size": 8}, 0)


def test_other_names_are_options():
    assert build_options({}, (("width", 0.5),)) == {"width": 0.5}


def test_half_a_block_is_refused():
    with pytest.raises(ValueError, match=r"^topology: block B needs both n_B and F_B$"):
        build_options({}, (("n_A", 1), ("F_A", 64), ("n_B", 2)))
