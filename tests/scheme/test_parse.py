"""Scheme names: canonical printing, round trips, defaults, and the texts of the errors."""

import re
import subprocess
import sys

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitjoule.formats import registered_formats
from bitjoule.scheme import (
    REPAIRS,
    RepairError,
    Scheme,
    SchemeError,
    check_repairs,
    parse_scheme,
    repair,
)

CANONICAL = {
    "w8a8": "int8", "int8": "int8", "int4": "w4a4", "W4A4": "w4a4", "w04a4": "w4a4", "hpr16-w4a4": "hpr-w4a4",
    "hpr12-w4a4": "hpr12-w4a4", "hpr-w8a8": "hpr-int8", "moons4": "moons-4", "FLOAT32": "float32",
    "w4a4[first=8,last=8,preadd=acc]": "w4a4", "w4a4[last=same]": "w4a4[last=same]", "ternary": "ternary",
    "wTERNARYa8": "ternary", "hpr-w4a4[preadd=h]": "hpr-w4a4", "w1a1[downsample=8]": "w1a1",
    "w4/GROUP064a8": "w4/group64a8", "wTERNARY/group8a8{a:w8/group4a8}": "wTERNARY/group8a8{a:w8/group4a8}",
    "w4aUINT4": "w4a4", "wINT4a8": "wINT4a8", "HPR-w4a4": "hpr-w4a4", "w4a4{a:W8A8}": "w4a4{a:w8a8}",
    "w4a4{layer3.*:w8a8, linear:w2a8}": "w4a4{layer3.*:w8a8,linear:w2a8}",
}  # fmt: skip


UNFIT = ("UINT", "INT24", "INT32")
NAMES = [str(f) for f in registered_formats()]
WEIGHTS = [*map(str, range(1, 17)), *(name for name in NAMES if not name.startswith(UNFIT))]
WEIGHTS = [name for name in WEIGHTS if not name.endswith("_RELU") and not name.startswith("U")]
ONLY_WEIGHTS = [name for name in NAMES if "SVA" in name or re.search("_(INQ|DS|ZF)", name)]
ACTIVATIONS = [*map(str, range(1, 17)), *(name for name in NAMES if not name.startswith(UNFIT))]
ACTIVATIONS = [name for name in ACTIVATIONS if name not in ONLY_WEIGHTS]


@pytest.mark.parametrize(("text", "name"), CANONICAL.items())
def test_prints_canonically(text: str, name: str) -> None:
    assert str(parse_scheme(text)) == name
    assert parse_scheme(name) == parse_scheme(text)


@given(
    weight=st.sampled_from(WEIGHTS),
    activation=st.sampled_from(ACTIVATIONS),
    hpr=st.sampled_from(["", "hpr-", "hpr12-"]),
    first=st.sampled_from(["", "first=8", "first=same", "first=6"]),
    preadd=st.sampled_from(["", "preadd=b", "preadd=h"]),
    override=st.sampled_from(["", "{conv*:w8a8}", "{a.b:w2a4,c:wTERNARYa8}"]),
)
def test_round_trip(weight: str, activation: str, hpr: str, first: str, preadd: str, override: str) -> None:
    assume(hpr or preadd != "preadd=h")
    options = ",".join(filter(None, (first, preadd)))
    scheme = parse_scheme(f"{hpr}w{weight}a{activation}{f'[{options}]' if options else ''}{override}")
    assert parse_scheme(str(scheme)) == scheme
    assert str(parse_scheme(str(scheme))) == str(scheme)


def test_no_two_precisions_share_a_name() -> None:
    schemes = [parse_scheme(f"w{w}a{a}") for w in WEIGHTS for a in ACTIVATIONS]
    named = {str(scheme): scheme for scheme in schemes}
    assert len({scheme.precision for scheme in schemes}) == len(named)
    assert str(parse_scheme("wFLOAT32a8")) == "wFLOAT32a8"
    assert not parse_scheme("wFLOAT32a8").is_float32
    assert str(parse_scheme("wINT8a8")) == "wINT8a8"


def test_formats_of_common_schemes() -> None:
    w4a4 = parse_scheme("w4a4")
    assert (str(w4a4.weights), str(w4a4.activation(signed=True)), str(w4a4.activation(signed=False))) == (
        "INT4_NARROW/channel",
        "INT4",
        "UINT4",
    )
    assert (w4a4.first, w4a4.last, w4a4.downsample, w4a4.preadd) == (8, 8, None, "acc")
    binary = parse_scheme("w1a1")
    assert (str(binary.weights), str(binary.activation(signed=True))) == ("BIPOLAR/channel", "BIPOLAR")
    assert str(binary.activation(signed=False)) == "UINT1"
    assert (binary.first, binary.downsample) == (8, 8)
    moons = parse_scheme("moons-4")
    assert (str(moons.weights), str(moons.activation(signed=False))) == ("MOONS4", "MOONS4_RELU")
    assert (moons.first, moons.last) == (None, None)
    assert str(parse_scheme("moons-1").activation(signed=False)) == "MOONS1"
    assert str(parse_scheme("fp16").weights) == "FP16"
    assert str(parse_scheme("hpr12-w4a4").high()) == "INT12"


def test_hpr_that_equals_sp() -> None:
    assert parse_scheme("hpr-fp16").hpr_is_sp
    assert parse_scheme("hpr8-int8").hpr_is_sp
    assert not parse_scheme("hpr-w4a4").hpr_is_sp
    assert not parse_scheme("fp16").hpr_is_sp


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w4a8/group32", "unknown scheme 'w4a8/group32': groups are of weights, w4/group32a8"),
        ("w4a4x", "unknown scheme 'w4a4x', did you mean 'w4a4'?"),
        ("wpot4a8", "unknown scheme 'wpot4a8', did you mean 'wPOT4a8'? formats stand in capitals"),
        (
            "w1a1[first=same]+rprelu",
            "unknown scheme 'w1a1[first=same]+rprelu': repairs stand before options, w1a1+rprelu[first=same]",
        ),
        ("int0", "scheme 'int0': weights take 1 to 16 bits, not 0"),
        ("w4a17", "scheme 'w4a17': activations take 1 to 16 bits, not 17"),
        (
            "w4a4[frist=8]",
            "scheme 'w4a4[frist=8]': unknown option 'frist=8'; options: first=8, last=8, downsample=8, "
            "depthwise=8 (bits or same), preadd=acc|b|h, prune=2:4",
        ),
        (
            "w4a4[prune=4:2]",
            "scheme 'w4a4[prune=4:2]': prune must be N:M, N of every M weights kept with 1 <= N < M <= 64, "
            "such as 2:4, not '4:2'",
        ),
        (
            "w4a4[prune=channels:0.3]",
            "scheme 'w4a4[prune=channels:0.3]': prune must be N:M, N of every M weights kept with 1 <= N < M "
            "<= 64, such as 2:4, not 'channels:0.3'; whole channels are cut before the scheme: bitjoule "
            "prune NETWORK --channels 0.3",
        ),
        (
            "float32[prune=2:4]",
            "scheme 'float32[prune=2:4]': prune masks the weights that a quantizer reads, and float32 has "
            "none; use fp16[prune=2:4] or fewer bits",
        ),
        (
            "w1a1[prune=2:4]",
            "scheme 'w1a1[prune=2:4]': BIPOLAR has no zero, so none of its weights can be pruned; use "
            "weights with a zero, such as TERNARY or INT2",
        ),
        ("w4a4[first=33]", "scheme 'w4a4[first=33]': first must be 1 to 16 bits or same, not '33'"),
        ("w4a4[preadd=x]", "scheme 'w4a4[preadd=x]': preadd must be acc, b or h, not 'x'"),
        ("w4a4{fc}", "scheme 'w4a4{fc}': override 'fc' must be PATTERN:wXaY, such as layer3.*:w8a8"),
        ("w4a4[preadd=h]", "scheme 'w4a4[preadd=h]': preadd=h needs hpr, which has a high precision"),
        ("w4a4[first=8,first=4]", "scheme 'w4a4[first=8,first=4]': option first stands twice; keep one"),
        (
            "wUINT4a8",
            "scheme 'wUINT4a8': weights are signed, 1 to 16 bits: UINT4 is no format for them",
        ),
        ("hpr40-w4a4", "scheme 'hpr40-w4a4': the residual width of hpr must be 2 to 16 bits, not 40"),
    ],
)
def test_errors_name_the_part_and_the_mend(text: str, message: str) -> None:
    with pytest.raises(SchemeError) as caught:
        parse_scheme(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["", "quantize", "w4", "4a4", "w4a4{", "w4a4]", "hpr-", "moons-17"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(SchemeError):
        parse_scheme(text)


def test_a_scheme_is_a_text() -> None:
    with pytest.raises(SchemeError, match="a scheme is a text such as w4a4"):
        parse_scheme(4)  # type: ignore[arg-type]


def test_hash_is_stable_across_processes() -> None:
    code = "from bitjoule.scheme import parse_scheme; print(parse_scheme('hpr-w4a4').hash)"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == parse_scheme("hpr16-w4a4").hash
    assert parse_scheme("w4a4").hash != parse_scheme("w4a8").hash


def test_schemes_are_values() -> None:
    assert {parse_scheme("w8a8"), parse_scheme("int8")} == {parse_scheme("int8")}
    assert isinstance(parse_scheme("int8"), Scheme)


REPAIR_NAMES = ("learned_shift", "pre_bn", "libra", "double_residual", "rprelu", "se8", "teacher", "bases_3")


@given(st.lists(st.sampled_from(REPAIR_NAMES), unique=True), st.sampled_from(("w1a1", "hpr-w1a1")))
def test_repairs_print_in_one_order_and_parse_back(names: list[str], base: str) -> None:
    scheme = parse_scheme("+".join((base, *names)))
    assert scheme.repairs == tuple(sorted(names, key=REPAIR_NAMES.index))
    assert str(scheme) == "+".join((base, *scheme.repairs))
    assert parse_scheme(str(scheme)) == scheme
    assert (scheme.hash == parse_scheme(base).hash) == (not names)


@pytest.mark.parametrize("name", [*REPAIRS, "bases_2"])
def test_every_repair_is_a_part_of_a_name(name: str) -> None:
    scheme = parse_scheme(f"w1a1+{name}[first=same]{{layer1.*:w8a8}}")
    assert scheme.repairs == (name,)
    assert str(scheme) == f"w1a1+{name}[first=same]{{layer1.*:w8a8}}"
    assert (name in scheme.topology_repairs) == repair(name).rewrites


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "w1a1+rpelu",
            "scheme 'w1a1+rpelu': unknown repair 'rpelu', did you mean 'rprelu'? repairs: "
            + ", ".join((*REPAIRS, "bases_M (M = 2..8)")),
        ),
        ("w1a1+rprelu+rprelu", "scheme 'w1a1+rprelu+rprelu': repair 'rprelu' stands twice; keep one"),
        (
            "w1a1+prelu+dprelu",
            "scheme 'w1a1+prelu+dprelu': repairs 'prelu' and 'dprelu' exclude each other: a conv has one "
            "activation behind it",
        ),
        (
            "w1a1+bop+libra",
            "scheme 'w1a1+bop+libra': repairs 'bop' and 'libra' exclude each other: bop has no latent "
            "weights",
        ),
        (
            "w1a1+scale_input+scale_xnorpp",
            "scheme 'w1a1+scale_input+scale_xnorpp': repairs 'scale_input' and 'scale_xnorpp' exclude each "
            "other: a conv result is scaled once",
        ),
        (
            "w4a4+rprelu",
            "scheme 'w4a4+rprelu': repair 'rprelu' mends layers with binary weights and activations, and "
            "this scheme has none; start from w1a1",
        ),
        (
            "w1a1+bases_1",
            "scheme 'w1a1+bases_1': repair 'bases_1': a conv takes 2 to 8 bases, such as bases_2",
        ),
    ],
)
def test_repairs_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(SchemeError) as error:
        parse_scheme(text)
    assert str(error.value) == message


LATENT = ("libra", "weight_norm", "weight_center", "two_stage", "scale_xnor", "decay")


@pytest.mark.parametrize("other", LATENT)
def test_bop_has_no_latent_weights(other: str) -> None:
    for names in (("bop", other), (other, "bop")):
        with pytest.raises(RepairError, match=f"repairs 'bop' and '{other}' exclude each other: bop has no"):
            check_repairs(names)


def test_binary_weights_alone_take_repairs_of_weights() -> None:
    assert parse_scheme("w1a8+scale_xnor").repairs == ("scale_xnor",)
    assert parse_scheme("w4a4+rprelu{layer1.*:w1a1}").repairs == ("rprelu",)
    with pytest.raises(SchemeError, match="mends layers with binary weights and activations"):
        parse_scheme("w1a8+learned_shift")


@pytest.mark.parametrize("name", ONLY_WEIGHTS)
def test_formats_for_weights_alone_are_no_activations(name: str) -> None:
    assert parse_scheme(f"w{name}a8").weights.format.name == name
    with pytest.raises(SchemeError, match=rf"^scheme 'w4a{name}': {name} is for weights: it"):
        parse_scheme(f"w4a{name}")


def test_text_of_a_format_for_weights_alone() -> None:
    with pytest.raises(SchemeError) as error:
        parse_scheme("w4a4{conv1:w4aSVA1}")
    assert str(error.value) == (
        "scheme 'w4a4{conv1:w4aSVA1}': SVA1 is for weights: it approximates whole rows at once, by search; "
        "give activations another format, such as w4a8 or w4aUAPOT4"
    )
    with pytest.raises(SchemeError, match=r"POT5_INQ is for weights: its exponents come from"):
        parse_scheme("wPOT5_INQaPOT5_INQ")


@pytest.mark.parametrize(
    ("token", "twin"), [("UAPOT4", "APOT4"), ("UPOT3_LOG", "POT3_LOG"), ("MOONS4_RELU", "MOONS4")]
)
def test_unsigned_formats_are_no_weights_and_have_a_signed_twin(token: str, twin: str) -> None:
    with pytest.raises(SchemeError) as error:
        parse_scheme(f"w{token}a8")
    assert str(error.value) == (
        f"scheme 'w{token}a8': weights are signed, and {token} holds nothing below 0; use w{twin}"
    )
    scheme = parse_scheme(f"w4a{token}")
    assert str(scheme.activation(signed=True)) == twin
    assert str(scheme.activation(signed=False)) == token
    assert scheme.activation(signed=True).format.bits == scheme.activation(signed=False).format.bits


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("w4a4[prune=2:4]", "w4a4[prune=2:4]"),
        ("w8a8[ prune = 1:4 , first=same ]", "int8[first=same,prune=1:4]"),
        ("hpr-w4a4[prune=2:4]{fc:w8a8}", "hpr-w4a4[prune=2:4]{fc:w8a8}"),
        ("fp16[prune=2:4]", "fp16[prune=2:4]"),
    ],
)
def test_pruning_is_an_option_that_prints_and_parses(text: str, name: str) -> None:
    scheme = parse_scheme(text)
    assert str(scheme) == name and parse_scheme(name) == scheme
    assert scheme.prune is not None and parse_scheme("w4a4").prune is None
    assert scheme.hash != parse_scheme(name.replace("prune=", "preadd=b,prune=")).hash


@pytest.mark.parametrize(
    "text",
    [
        "w4a4[first=\u00b2]",
        "w4a4[first=\u0663]",
        f"int{'9' * 5000}",
        f"w{'9' * 5000}a4",
        f"hpr{'9' * 5000}-w4a4",
        f"w4a4[prune={'9' * 5000}:4]",
        f"w1a1+bases_{'9' * 5000}",
        f"w4a4[first={'9' * 5000}]",
    ],
)
def test_hostile_numbers_are_faults_of_the_scheme(text):
    with pytest.raises(SchemeError):
        parse_scheme(text)
