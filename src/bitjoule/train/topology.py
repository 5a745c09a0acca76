"""What the parameters of a candidate mean for a network of the zoo."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["build_options"]

BLOCK = re.compile(r"(?P<what>[nF])_(?P<letter>[A-Z])")


def build_options(
    options: Mapping[str, object], topology: Sequence[tuple[str, int | float]]
) -> dict[str, object]:
    """Options of `zoo.build`: `options` with the topology put over them.

    `n_A`, `F_A`, `n_B`, ... are the depths and filters of blocks in the order of their letters; any other
    name is an option of its own (`width`). A block with one of the two alone raises ValueError.

    >>> build_options({"classes": 10}, (("n_A", 1), ("F_A", 64), ("n_B", 2), ("F_B", 128)))
    {'classes': 10, 'depths': [1, 2], 'filters': [64, 128]}
    """
    found = dict(options)
    blocks: dict[str, dict[str, int | float]] = {"n": {}, "F": {}}
    for name, value in topology:
        match = BLOCK.fullmatch(name)
        if match:
            blocks[match["what"]][match["letter"]] = value
        else:
            found[name] = value
    if blocks["n"].keys() != blocks["F"].keys():
        lonely = sorted(blocks["n"].keys() ^ blocks["F"].keys())
        raise ValueError(f"topology: block {lonely[0]} needs both n_{lonely[0]} and F_{lonely[0]}")
    if blocks["n"]:
        found["depths"] = [int(blocks["n"][letter]) for letter in sorted(blocks["n"])]
        found["filters"] = [int(blocks["F"][letter]) for letter in sorted(blocks["F"])]
    return found
