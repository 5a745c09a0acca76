"""Every registered format, INT1 included, through the conformance suite."""

import pytest

from bitjoule.formats import OneBitIntegerWarning, parse_format, registered_formats, signed_integer
from tests.formats.conformance import BLOCK_CHECKS, CHECKS, VECTOR_CHECKS

CASES = [
    pytest.param(name, check, id=f"{name}-{check.__name__.removeprefix('check_')}")
    for name in registered_formats(self_scaling=True)
    for check in {"vector": VECTOR_CHECKS, "block": BLOCK_CHECKS}.get(parse_format(name).kind, CHECKS)
]


@pytest.mark.parametrize(("name", "check"), CASES)
def test_conformance(name, check):
    check(parse_format(name))


@pytest.mark.parametrize("check", CHECKS[1:], ids=lambda check: check.__name__.removeprefix("check_"))
def test_conformance_of_int1(check):
    check(signed_integer(1))


def test_int1_warns_when_parsed():
    with pytest.warns(
        OneBitIntegerWarning, match="INT1 holds the levels -1 and 0; for -1 and .1 use BIPOLAR"
    ):
        made = parse_format("int1")
    assert made == signed_integer(1) and str(made) == "INT1"
