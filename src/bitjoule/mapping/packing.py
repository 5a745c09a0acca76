"""How many memory words a number of elements takes (mapping.md section 3), and the modes of counting.

Applied to tiles and to whole-run counts alike: perfect use of every word that is read [assumed].
"""

from __future__ import annotations

from typing import Literal

__all__ = ["MODES", "Mode", "WordPacking", "words"]

Mode = Literal["physical", "paper", "native"]
"""`physical`: partial sums at their own width; `paper`: output bits everywhere; `native`: element = word."""

MODES: tuple[Mode, ...] = ("physical", "paper", "native")

WordPacking = Literal["floor", "dense", "native", "paper"]

GREATEST_BITS = 256


def words(count: int, bits: int | None, word_bits: int, mode: WordPacking) -> int:
    """Words of `word_bits` that hold `count` elements of `bits` (None: one element per word).

    `floor`: no element straddles a word; an element wider than a word takes whole words. `dense`: elements
    lie bit by bit. `native`: one element per word. `paper`: as floor, and no element is wider than a word.
    Monotone in `count` and in `bits`.

    Raises:
        ValueError: a negative count, bits or word_bits outside 1..256, or in paper mode bits > word_bits.

    >>> words(1000, 3, 16, "floor"), words(1000, 3, 16, "dense"), words(10, 24, 16, "floor")
    (200, 188, 20)
    """
    if count < 0:
        raise ValueError(f"a count of elements must be >= 0, not {count}")
    if bits is None or mode == "native":
        return count
    if not 1 <= bits <= GREATEST_BITS:
        raise ValueError(f"bits of an element must be 1..{GREATEST_BITS}, not {bits!r}")
    if word_bits < 1:
        raise ValueError(f"word_bits must be >= 1, not {word_bits!r}")
    if mode == "dense":
        return -(-count * bits // word_bits)
    if bits <= word_bits:
        return -(-count // (word_bits // bits))
    if mode == "paper":
        raise ValueError(f"paper mode packs 1..{word_bits} bits into a word of {word_bits}, not {bits}")
    return count * -(-bits // word_bits)
