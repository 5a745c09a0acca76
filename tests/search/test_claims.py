"""Claims against facts: every kind, both ways; what cannot be checked never counts as passed."""

from __future__ import annotations

import pytest

from bitjoule.search.claims import Claim, Fact, Size, check_claim, failed_claims, read_claims
from bitjoule.search.study_yaml import StudyFileError

FACTS: dict[str, Fact] = {
    "x": 2.0,
    "y": 1.0,
    "up": [1.0, 2.0, 3.0],
    "flat": [1.0, 1.0],
    "one": [1.0],
    "good": [(1.0, 0.9)],
    "bad": [(2.0, 0.8), (3.0, 0.95)],
}


def claim(kind: str, checkable: str = "minutes", **params: object) -> Claim:
    why = "" if checkable == "minutes" else "needs more"
    fields = {"id": "T", "text": "t", "source": "s", "mark": "derived", "printed": "p", "why": why}
    return Claim.model_validate({**fields, "kind": kind, "params": params, "checkable": checkable})


@pytest.mark.parametrize(
    ("entry", "verdict", "ours"),
    [
        (claim("exact", quantity="x", value=2.0), "in band", "2"),
        (claim("exact", quantity="x", value=2.1, tolerance=0.05), "in band", "2"),
        (claim("exact", quantity="x", value=2.2, tolerance=0.05), "differs", "2"),
        (claim("exact", quantity="x", value=2.1), "differs", "2"),
        (claim("band", quantity="x", low=2.0, high=3.0), "in band", "2"),
        (claim("band", quantity="x", low=2.1, high=3.0), "differs", "2"),
        (claim("ordering", chain=["x", "y"]), "ordering holds", "2 > 1"),
        (claim("ordering", chain=["y", "x"]), "differs", "1 > 2"),
        (claim("ordering", chain=["x", "y"], margin=1.0), "differs", "2 > 1"),
        (claim("trend", series="up", direction="rising"), "ordering holds", "1, 2, 3"),
        (claim("trend", series="up", direction="falling"), "differs", "1, 2, 3"),
        (claim("trend", series="flat", direction="rising"), "differs", "1, 1"),
        (claim("trend", series="one", direction="rising"), "differs", "1"),
        (claim("dominates", a="good", b="bad"), "ordering holds", "1 of 2 pairs"),
        (claim("dominates", a="bad", b="good"), "differs", "0 of 2 pairs"),
        (claim("on_front", family="bad", front="good"), "ordering holds", "1 of 2 points"),
        (claim("on_front", family="good", front="bad"), "ordering holds", "1 of 1 points"),
        (claim("report", quantity="x"), "reported", "2"),
    ],
)
def test_verdicts(entry: Claim, verdict: str, ours: str) -> None:
    checked = check_claim(entry, FACTS, "minutes")
    assert (checked.verdict, checked.ours) == (verdict, ours)
    assert bool(failed_claims([checked])) == (verdict == "differs")


@pytest.mark.parametrize(("size", "verdict"), [("minutes", "not checkable here"), ("hour", "differs")])
def test_a_claim_below_its_size_is_shown_and_never_passes(size: Size, verdict: str) -> None:
    checked = check_claim(claim("band", "hour", quantity="x", low=5.0, high=6.0), FACTS, size)
    assert (checked.verdict, checked.ours) == (verdict, "2")
    assert checked.note == ("needs more" if size == "minutes" else "")


def test_missing_facts_are_named() -> None:
    checked = check_claim(claim("ordering", chain=["x", "nothing"]), FACTS, "minutes")
    assert checked.to_json()["verdict"] == "not checkable here: this run has no nothing"


def test_claims_that_are_no_claims() -> None:
    rest = "params: {quantity: x}, printed: p, checkable"
    text = f"""\
bitjoule: 1
claims:
  - {{id: A, text: t, source: s, mark: derived, kind: band, {rest}: minutes}}
  - {{id: B, text: t, source: s, mark: derived, kind: report, {rest}: hour}}
  - {{id: C, text: t, source: s, mark: guess, kind: report, {rest}: minutes}}
"""
    with pytest.raises(StudyFileError) as caught:
        read_claims(text, "c.yaml")
    assert [line.split(": ", 1)[1] for line in caught.value.faults] == [
        "claims[0]: a claim of kind band takes params high, low, quantity, not quantity",
        "claims[1]: says it is checkable at hour: why: must say why not before",
        "claims[2].mark: must be one of published, recalled, measured, derived, assumed, not 'guess'",
    ]


def test_two_claims_of_one_name() -> None:
    one = "{id: A, text: t, source: s, mark: derived, kind: report, params: {quantity: x}, printed: p, "
    text = "bitjoule: 1\nclaims:\n" + 2 * f"  - {one}checkable: minutes}}\n"
    with pytest.raises(StudyFileError, match="two claims are called 'A'"):
        read_claims(text, "c.yaml")
