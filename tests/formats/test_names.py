"""Parsing of names: canonical printing, error texts, a family of one's own."""

import re
import subprocess
import sys

import pytest

from bitjoule.formats import (
    FormatFamily,
    format_families,
    names,
    parse_format,
    register,
    registered_formats,
    signed_integer,
)

FAMILIES = "INT, UINT, BIPOLAR, TERNARY, MIDRISE, FP, MOONS"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("INT0", "INT takes 1 to 16 bits (24 and 32 for accumulators and biases)"),
        ("INT17", "INT takes 1 to 16 bits (24 and 32 for accumulators and biases)"),
        ("INT", "INT takes 1 to 16 bits (24 and 32 for accumulators and biases)"),
        ("INT1_NARROW", "INT with _NARROW takes 2 to 16 bits"),
        ("INT24_NARROW", "INT with _NARROW takes 2 to 16 bits"),
        ("INT8_WIDE", "INT knows the flavour _NARROW, not _WIDE"),
        ("UINT32", "UINT takes 1 to 16 bits"),
        ("MIDRISE9", "MIDRISE takes 1 to 8 bits"),
        ("MOONS17", "MOONS takes 1 to 16 bits"),
        ("MOONS1_RELU", "MOONS1_RELU could only hold 0; use MOONS1 (the symmetric hardtanh) there"),
        ("MOONS4_TANH", "MOONS knows the flavour _RELU, not _TANH"),
        ("FP8", "FP is FP16 or FP<bits>_E<exponent bits>M<mantissa bits>, such as FP8_E4M3"),
        ("FP9_E4M3", "1 sign, 4 exponent and 3 mantissa bits are 8 bits, not 9"),
        ("FP32_E8M23", None),
        ("FP13_E9M3", "FP takes 2 to 8 exponent bits and 0 to 10 mantissa bits (8 and 23 are FLOAT32)"),
        ("FP8_E4M3_UZ", "FP knows the flavours _IEEE, _FN and _FINITE, not _UZ"),
        ("FP3_E2M0_IEEE", "FP with _IEEE takes at least 1 mantissa bit, to tell NaN from infinity"),
    ],
)
def test_a_family_says_what_it_takes(text, reason):
    if reason is None:
        assert str(parse_format(text)) == "FLOAT32"
        return
    with pytest.raises(ValueError) as error:
        parse_format(text)
    assert str(error.value) == f"unknown format {text!r}: {reason}"


@pytest.mark.parametrize(("text", "near"), [("IN8", "INT8"), ("BIPOLER", "BIPOLAR"), ("fp8e4m3", "FP8_E4M3")])
def test_an_unknown_family_lists_the_families_and_the_nearest_name(text, near):
    with pytest.raises(ValueError) as error:
        parse_format(text)
    listed = ", ".join(family.name for family in format_families())
    assert str(error.value) == f"unknown format {text!r}: the families are {listed}; did you mean {near}?"
    assert set(FAMILIES.split(", ")) <= set(listed.split(", "))


@pytest.mark.parametrize("text", ["", "INT 8", " INT8", "GIBBERISH", "INT8\n", "INT٨", "INT-8"])
def test_nothing_else_passes(text):
    with pytest.raises(ValueError, match="unknown format"):
        parse_format(text)


def test_a_name_is_text():
    with pytest.raises(TypeError, match="parse_format takes a name such as 'INT8', not int"):
        parse_format(8)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("fp16_e5m10_ieee", "FP16"), ("fp16_e8m7", "BF16"), ("FP8_E4M3_FN", "FP8_E4M3"), ("bf16", "BF16"),
     ("FP8_E5M2_IEEE", "FP8_E5M2"), ("FP4_E2M1_FINITE", "FP4_E2M1"), ("fp16_e8m7_fn", "FP16_E8M7_FN")],
)  # fmt: skip
def test_defaults_are_not_printed(text, canonical):
    assert str(parse_format(text)) == canonical


def test_examples_are_canonical_and_unique():
    listed = registered_formats(self_scaling=True)
    assert len(set(listed)) == len(listed)
    assert [str(parse_format(name)) for name in listed] == list(listed)


def test_a_family_of_ones_own(monkeypatch):
    monkeypatch.setattr(names, "_FAMILIES", dict(names._FAMILIES))
    pattern = r"MYINT(?P<bits>[0-9]+)"
    family = FormatFamily("MYINT", pattern, lambda m: signed_integer(int(m["bits"])), ("MYINT4",), "mine")
    register(family)
    assert parse_format("myint4").bits == 4 and "MYINT4" in registered_formats(self_scaling=True)
    with pytest.raises(ValueError, match="format family MYINT is registered already; choose another name"):
        register(family)
    with pytest.raises(ValueError, match="format family X needs at least one example name"):
        register(FormatFamily("X", "X", lambda m: signed_integer(4), (), ""))


def test_no_two_families_claim_one_name():
    for name in registered_formats(self_scaling=True):
        assert sum(bool(re.fullmatch(family.pattern, name)) for family in format_families()) == 1


def test_torch_is_never_loaded():
    code = "import sys, bitjoule.formats; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
