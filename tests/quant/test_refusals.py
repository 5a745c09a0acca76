"""A Format that a method cannot train is refused with the list of those it can; so are wrong settings."""

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import METHODS, QuantizerConfig, QuantizerError, natural_method


def make(method, text, role="weight", **settings):
    return METHODS[method](parse_tensor_format(text), QuantizerConfig(method, **settings), role, name="conv1")


@pytest.mark.parametrize(
    ("method", "text", "role"),
    [
        ("lsq", "MIDRISE4", "weight"),
        ("lsq", "INT4*pot", "weight"),
        ("lsq", "UINT8+zp", "activation"),
        ("lsq", "UINT8/channel", "activation"),
        ("lsq", "INT4/group16", "weight"),
        ("lsq", "BIPOLAR", "weight"),
        ("ste", "INT8/channel", "activation"),
        ("ste", "INT8+zp", "weight"),
        ("moons", "INT4", "weight"),
        ("moons", "MOONS4_RELU", "weight"),
        ("dorefa", "INT4", "weight"),
        ("dorefa", "MIDRISE4", "activation"),
        ("dorefa", "MIDRISE4/channel", "weight"),
        ("pact", "INT4", "activation"),
        ("pact", "UINT4", "weight"),
        ("binary", "INT2", "weight"),
        ("binary", "BIPOLAR/channel", "activation"),
        ("float_cast", "FP8_E4M3", "weight"),
    ],
)
def test_refused_with_the_list(method, text, role):
    with pytest.raises(QuantizerError) as error:
        make(method, text, role)
    assert str(error.value) == (
        f"conv1: {method} cannot train {role}s in {parse_tensor_format(text)}; "
        f"it trains {METHODS[method].trains}"
    )


def test_text_of_a_refusal():
    with pytest.raises(QuantizerError) as error:
        make("lsq", "MIDRISE4")
    assert str(error.value) == (
        "conv1: lsq cannot train weights in MIDRISE4; it trains INT2 to INT16 (also _NARROW), "
        "UINT1 to UINT16 and TERNARY with float scales, weights per tensor or channel"
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (
            {"method": "lqs"},
            r"method must be one of ste, moons, dorefa, pact, lsq, lsq\+, tqt, apot, deepshift_q, "
            "deepshift_ps, inq, sva, twn, binary, float_cast, not 'lqs'",
        ),
        ({"method": "lsq", "init": "zero"}, "init must be one of default, minmax, three_sigma, not 'zero'"),
        ({"method": "ste", "momentum": 1.0}, r"momentum must be in \[0, 1\), not 1.0"),
        (
            {"method": "ste", "range": "fixed"},
            "range 'fixed' and a scale belong together, got range 'fixed' with",
        ),
        ({"method": "ste", "scale": 0.1}, "range 'fixed' and a scale belong together"),
        ({"method": "ste", "range": "fixed", "scale": -1.0}, "scale must be finite and > 0, not -1.0"),
        ({"method": "binary", "gradient": "smooth"}, "gradient must be one of default, identity, clipped"),
    ],
)
def test_config_errors(settings, text):
    with pytest.raises(QuantizerError, match=r"^QuantizerConfig: " + text):
        QuantizerConfig(**settings)


def test_a_method_refuses_the_gradients_of_another():
    with pytest.raises(
        QuantizerError, match=r"^conv1: moons has the gradients default, paper, keras, not 'swish'"
    ):
        make("moons", "MOONS4", gradient="swish")
    with pytest.raises(
        QuantizerError, match=r"^conv1: binary has the gradients default, identity, clipped, approx"
    ):
        make("binary", "BIPOLAR", gradient="paper")
    with pytest.raises(QuantizerError, match=r"^conv1: magnitude is for binary weights"):
        make("binary", "BIPOLAR", "activation", magnitude=True)
    with pytest.raises(QuantizerError, match=r"^conv1: a lsq quantizer was given a config of ste"):
        METHODS["lsq"](parse_tensor_format("INT4"), QuantizerConfig("ste"), "weight", name="conv1")


@pytest.mark.parametrize(
    ("text", "role", "method"),
    [
        ("MOONS4", "weight", "moons"),
        ("MOONS4_RELU", "activation", "moons"),
        ("FP16", "weight", "float_cast"),
        ("BIPOLAR/channel", "weight", "binary"),
        ("INT8_NARROW/channel", "weight", "lsq"),
        ("UINT4", "activation", "lsq"),
        ("MIDRISE3", "weight", "dorefa"),
        ("INT8*pot", "weight", "ste"),
        ("UINT8+zp", "activation", "ste"),
        ("FP8_E4M3", "weight", "ste"),
        ("FP8_E5M2", "activation", "ste"),
        ("FP4_E2M1/channel", "weight", "ste"),
    ],
)
def test_natural_method(text, role, method):
    assert natural_method(parse_tensor_format(text), role) == method


def test_no_method_says_what_each_trains():
    with pytest.raises(
        ValueError, match=r"^no method trains weights in FP12_E5M6_IEEE: moons trains MOONS1 to"
    ):
        natural_method(parse_tensor_format("FP12_E5M6_IEEE"), "weight")
    with pytest.raises(ValueError) as error:
        natural_method(parse_tensor_format("INT4_NARROW/group16"), "weight")
    assert str(error.value) == (
        "no method trains weights in INT4_NARROW/group16: scales in groups are found after training "
        "(bitjoule ptq, bj.ptq); train with a scale per channel, such as w4a8"
    )
