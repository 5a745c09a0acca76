"""Words: goldens of mapping.md section 3, monotone in count and bits."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.mapping.packing import WordPacking, words

counts = st.integers(0, 5000)
widths = st.integers(1, 256)
word_bits = st.sampled_from((1, 7, 8, 16, 24, 64))
packings = st.sampled_from(("floor", "dense"))


@pytest.mark.parametrize(
    ("count", "bits", "word", "floor", "dense"),
    [(1000, 3, 16, 200, 188), (100, 6, 8, 100, 75), (10, 24, 16, 20, 15), (0, 3, 16, 0, 0), (7, 8, 8, 7, 7)],
)
def test_goldens(count: int, bits: int, word: int, floor: int, dense: int) -> None:
    assert words(count, bits, word, "floor") == floor
    assert words(count, bits, word, "dense") == dense
    assert words(count, bits, word, "native") == count
    assert words(count, None, word, "floor") == count


@given(count=counts, bits=widths, word=word_bits, packing=packings)
def test_more_elements_or_wider_ones_never_take_fewer_words(
    count: int, bits: int, word: int, packing: WordPacking
) -> None:
    here = words(count, bits, word, packing)
    assert here <= words(count + 1, bits, word, packing)
    if bits < 256:
        assert here <= words(count, bits + 1, word, packing)


@given(count=counts, bits=widths, word=word_bits)
def test_dense_is_the_tightest(count: int, bits: int, word: int) -> None:
    dense = words(count, bits, word, "dense")
    assert dense <= words(count, bits, word, "floor")
    assert dense * word >= count * bits > (dense - 1) * word or count == dense == 0


@given(count=counts, word=word_bits)
def test_an_element_as_wide_as_a_word_is_a_word(count: int, word: int) -> None:
    for packing in ("floor", "dense", "native", "paper"):
        assert words(count, word, word, packing) == count  # type: ignore[arg-type]


@given(count=counts, word=word_bits, data=st.data())
def test_paper_mode_is_floor_within_a_word(count: int, word: int, data: st.DataObject) -> None:
    bits = data.draw(st.integers(1, word))
    assert words(count, bits, word, "paper") == words(count, bits, word, "floor")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((3, 0, 8, "floor"), "bits of an element must be 1..256, not 0"),
        ((3, 257, 8, "dense"), "bits of an element must be 1..256, not 257"),
        ((-1, 4, 8, "floor"), "a count of elements must be >= 0, not -1"),
        ((3, 4, 0, "floor"), "word_bits must be >= 1, not 0"),
        ((3, 16, 8, "paper"), "paper mode packs 1..8 bits into a word of 8, not 16"),
    ],
)
def test_refusals(arguments: tuple[int, int, int, WordPacking], text: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        words(*arguments)
