"""Measured weights and shift-add prices through the energy models: what changes, what does not, the notes."""

from dataclasses import replace
from functools import cache

import pytest

from bitjoule.energy import CostOptions, Infeasible, cost
from bitjoule.energy.measured_notes import measured_notes, shift_add_notes
from bitjoule.formats import parse_tensor_format
from bitjoule.hardware import Hardware, load
from bitjoule.workload import Layer, Workload
from tests.energy.networks import dense, workload
from tests.energy.tiny_hierarchy import tiny

PRICES = {"shift_pj_per_bit": 0.002, "add_pj_per_bit": 0.003}


@cache
def shifting() -> Hardware:
    document = tiny(4096).to_mapping()
    return load({**document, "mac": {**document["mac"], "shift_add": PRICES}})  # type: ignore[dict-item]


def net(text: str, activation: str = "INT8", **measured: object) -> Workload:
    made = workload("one", [dense("fc", 32, 4, "input", parse_tensor_format(activation))])
    layer = replace(made.layers[0], weight_format=parse_tensor_format(text), **measured)  # type: ignore[arg-type]
    return replace(made, layers=(layer,))


def mac_pj(found: object) -> float:
    return found.by("component")[("mac",)]  # type: ignore[attr-defined,no-any-return]


def weights_pj(found: object, component: str) -> float:
    return found.by("component", "tensor")[component, "weights"]  # type: ignore[attr-defined,no-any-return]


def test_the_accumulator_of_the_hardware_is_added_on() -> None:
    found = cost(net("SPOT3"), shifting())  # psum_bits 24
    assert mac_pj(found) == pytest.approx(128 * 3 * (8 * 0.002 + 24 * 0.003), rel=1e-12)
    assert found.notes[-1] == (
        "MACs of SPOT3 x INT8 priced as terms x (shift of the input + add of the accumulator): the most "
        "terms that the Format has"
    )
    assert found.provenance["mac"] == "anchor_pj: assumed; shift_add: assumed"


def test_terms_scale_the_macs_and_nothing_else() -> None:
    costs = [cost(net("POT4", weight_terms=terms), shifting()) for terms in (0.25, 0.5, 1.0)]
    macs = [mac_pj(found) for found in costs]
    assert macs == pytest.approx([macs[2] / 4, macs[2] / 2, macs[2]], rel=1e-12)
    assert mac_pj(cost(net("POT4"), shifting())) == macs[2]
    others = {round(found.energy_pj - mac_pj(found), 6) for found in costs}
    assert len(others) == 1
    assert costs[0].notes[-1].endswith(": terms as measured")


def test_vectors_are_priced_once_they_are_measured() -> None:
    with pytest.raises(Infeasible) as error:
        cost(net("SVA1", measured_weight_bits=704), shifting())
    assert "the terms of SVA1 depend on the weights and were not measured" in str(error.value)
    assert "price bitjoule.quant.measured_workload(net)" in str(error.value)
    found = cost(net("SVA1", measured_weight_bits=704, weight_terms=1.1), shifting())
    assert mac_pj(found) == pytest.approx(128 * 1.1 * (8 * 0.002 + 24 * 0.003), rel=1e-12)
    dense_words = cost(net("SVA1", weight_terms=1.1), shifting())
    # 26 bits a weight against 704 / 128 = 5.5, in a tile 6
    assert weights_pj(found, "level:dram") < 0.3 * weights_pj(dense_words, "level:dram")
    assert found.notes[-2] == "stored weights of 1 of 1 layers as measured, 5.5 bits each on average"


def test_paper_mode_prices_every_mac_as_int8() -> None:
    found = cost(net("POT5"), shifting(), options=CostOptions(mode="paper"))
    assert mac_pj(found) == pytest.approx(128 * 0.344)
    assert not any("shift of the input" in note for note in found.notes)


@pytest.mark.parametrize(("weight", "activation"), [("INT4", "INT8"), ("POT4", "INT4"), ("TERNARY", "INT2")])
def test_pairs_with_a_row_cost_what_they_did(weight: str, activation: str) -> None:
    with_terms, without = net(weight, activation, weight_terms=0.5), net(weight, activation)
    plain = cost(without, tiny(4096))
    for priced in (cost(without, shifting()), cost(with_terms, shifting()), cost(with_terms, tiny(4096))):
        assert (priced.items, priced.notes) == (plain.items, plain.notes)


def test_gates_add() -> None:
    found = cost(net("TERNARY", weight_terms=0.4), shifting())
    assert mac_pj(found) == pytest.approx(128 * 24 * 0.003, rel=1e-12)
    assert found.notes[-1].endswith(": one add for gated weights")


def test_the_closed_form_stores_what_was_measured() -> None:
    """As a Format of so many bits does, weights that fill the words and MACs of that width alike."""
    hardware = load("moons-4mb")
    six, five = (cost(net("SVA1", measured_weight_bits=bits), hardware) for bits in (6 * 128, 5 * 128 + 64))
    plain = cost(net("INT6"), hardware)
    assert [item.energy_pj for item in six.items] == [item.energy_pj for item in plain.items]
    share = weights_pj(five, "moons:main") / weights_pj(six, "moons:main")
    assert share == pytest.approx(5.5 / 6, rel=1e-12)
    assert mac_pj_of_form(five) == mac_pj_of_form(six)  # at whole bits, as the paper's form
    assert "model extrapolated: SVA1 by storage bits, the paper has integers of 1 to 16" in six.notes
    assert five.notes[-1] == "stored weights of 1 of 1 layers as measured, 5.5 bits each on average"
    assert cost(net("SVA1"), hardware).energy_pj > 3 * six.energy_pj  # dense words of 26 bits


def mac_pj_of_form(found: object) -> float:
    return found.by("component")[("moons:compute",)]  # type: ignore[attr-defined,no-any-return]


def test_some_layers_are_measured() -> None:
    one, other = net("POT4", weight_terms=0.9), net("POT4")
    both = replace(one, layers=(*one.layers, replace(other.layers[0], name="other")))
    (note,) = shift_add_notes(both, shifting())
    assert note.endswith(": terms as measured in 1 of 2 layers, elsewhere the most")


def test_nothing_is_said_of_weights_that_were_not_measured() -> None:
    plain = net("INT8")
    assert measured_notes(plain) == shift_add_notes(plain, shifting()) == ()
    no_formats = Workload("net", "float32", (Layer("fc", "linear", 1, 8, 16, 1, 1, 1, 1),))
    assert shift_add_notes(no_formats, shifting()) == ()


@pytest.mark.parametrize("hardware", ["moons-4mb", "eyeriss", "braintta22"])
def test_scales_of_groups_are_counted_and_their_products_told(hardware: str) -> None:
    plain, grouped = (cost(net(f"INT4_NARROW/{g}"), load(hardware)) for g in ("channel", "group2"))
    told = (
        "scales of groups of weights in 1 of 1 layers: their 2,048 bits are counted, scaling the partial sum "
        "of each group is not"
    )
    assert told in grouped.notes and told not in plain.notes
    assert grouped.energy_pj > plain.energy_pj
