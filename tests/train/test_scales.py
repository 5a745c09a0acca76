"""Methods asked for by name get the kind of scale they train."""

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.quant import QuantizerConfig, QuantizerError
from bitjoule.scheme import parse_scheme
from bitjoule.train import QatConfig, measure, prepare_qat, quantizers, recipe
from bitjoule.train.course import train_under
from bitjoule.train.scales import fitted, fitted_assignment
from bitjoule.workload import assign

TQT = QatConfig(QuantizerConfig("tqt"), QuantizerConfig("tqt"))
AFFINE = QatConfig(QuantizerConfig("lsq+"), QuantizerConfig("lsq+"), zero_point=True)


def formats(net):
    return {q.name: (q.method, str(q.tensor_format)) for q in quantizers(net).values()}


@pytest.mark.parametrize(
    ("scheme", "config", "expected"),
    [
        ("w4a4", TQT, {"tqt INT4_NARROW/channel*pot", "tqt UINT4*pot", "tqt INT4*pot"}),
        ("int8", TQT, {"tqt INT8_NARROW/channel*pot", "tqt UINT8*pot", "tqt INT8*pot"}),
        ("w4a4", AFFINE, {"lsq+ INT4_NARROW/channel", "lsq+ UINT4+zp", "lsq+ INT4+zp"}),
        ("w4a4", QatConfig(None, QuantizerConfig("ste"), True), {"ste UINT4+zp", "ste INT4+zp"}),
        ("wMIDRISE2a2", QatConfig(QuantizerConfig("dorefa")), {"dorefa MIDRISE2"}),
        ("w4a4", QatConfig(None, QuantizerConfig("pact")), {"pact UINT4", "lsq INT4"}),
        ("w4a4", QatConfig(None, QuantizerConfig("dorefa")), {"dorefa UINT4", "lsq INT4"}),
    ],
)
def test_every_method_trains_a_residual_network(residual, few, scheme, config, expected):
    """Its shortcuts hold negative values, and its ends stay at 8 bits."""
    net = train_under(residual, few, scheme, recipe("smoke"), seed=0, config=config).network
    found = formats(net)
    assert expected <= {f"{method} {text}" for method, text in found.values()}
    assert found["x"] == ("ste", "INT8")
    if scheme != "int8":
        assert found["conv1.weight"] == ("lsq", "INT8_NARROW/channel")
    assert measure(net, few.validation, few.preprocessing).total == len(few.validation)


def test_the_assignment_says_what_the_quantizers_do(residual):
    net = prepare_qat(residual, "w4a4", TQT)
    for q in quantizers(net).values():
        if q.role == "weight":
            assert net.assignment.weights[q.name.removesuffix(".weight")] == q.tensor_format
    points = {point.name: point.format for point in net.assignment.points}
    assert all(points[q.name] == q.tensor_format for q in quantizers(net).values() if q.role == "activation")
    read = {f for f in net.assignment.reads.values() if f is not None}
    assert parse_tensor_format("UINT4*pot") in read and parse_tensor_format("UINT4") not in read


def test_without_such_a_method_the_assignment_is_the_schemes(residual):
    plain = assign(residual.graph, parse_scheme("w4a4"))
    assert fitted_assignment(plain, None, None) is plain
    lsq = QuantizerConfig("lsq")
    assert fitted_assignment(plain, lsq, lsq) is plain


def test_what_a_method_cannot_train_either_way_is_left_for_its_refusal():
    four = parse_tensor_format("MOONS4")
    assert fitted(four, QuantizerConfig("tqt"), "weight") is four
    apot = parse_tensor_format("APOT4/channel")
    assert fitted(apot, QuantizerConfig("tqt"), "weight") is apot


def test_a_zero_point_without_its_method_is_refused():
    text = r"^QatConfig: zero_point needs activations by lsq\+ or ste, such as .*, not "
    with pytest.raises(QuantizerError, match=text + "by the method of their Format$"):
        QatConfig(zero_point=True)
    with pytest.raises(QuantizerError, match=text + "by pact$"):
        QatConfig(activation=QuantizerConfig("pact"), zero_point=True)


def test_fingerprints_of_old_configs_stay():
    assert set(QatConfig().to_json()) == {"weight", "activation"}
    assert AFFINE.to_json()["zero_point"] is True
