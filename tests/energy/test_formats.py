"""Every Format as that of weights, on every hardware: a price that grows with its bits, or a refusal."""

import functools
import math
import re
from dataclasses import replace

import pytest

from bitjoule.energy import Infeasible, cost
from bitjoule.formats import parse_tensor_format, registered_formats
from bitjoule.hardware import load
from bitjoule.hardware.mac_units import integer_width
from bitjoule.workload import Layer, StoredTensor, Workload

HARDWARE = ("eyeriss", "simba", "eyeriss-timeloop", "simba-timeloop", "moons-2mb", "braintta22")
FORMATS = registered_formats(self_scaling=True)
FEW = (
    *("INT2", "INT3", "INT4", "INT8", "INT16", "UINT4", "MOONS4", "MIDRISE4", "BIPOLAR", "TERNARY", "POT4"),
    *("POT5_INQ", "APOT4", "SPOT2", "SVA1", "FP8_E4M3", "BF16", "MXFP4_E2M1", "FLOAT32"),
)
"""One of every family, for hardware whose mappings are searched for; the slow test takes all."""
SEARCHED = HARDWARE[:4]
INPUT, OUTPUT = parse_tensor_format("INT8"), parse_tensor_format("INT32")


@functools.cache
def priced(name, text):
    """Energy in pJ of a linear layer with such weights, or the text of the refusal; and the notes."""
    layer = Layer("fc", "linear", 1, 2, 32, 1, 1, 1, 1, inputs=("input",), output="logits")
    layer = replace(layer, weight_format=parse_tensor_format(text), input_format=INPUT, output_format=OUTPUT)
    tensors = {
        "input": StoredTensor("input", 32, INPUT, "input"),
        "logits": StoredTensor("logits", 2, OUTPUT, "output"),
    }
    try:
        found = cost(Workload("one", "test", (layer,), (), tensors), load(name))
    except Infeasible as error:
        return str(error), ()
    return found.energy_pj, found.notes


def formats_of(name):
    return FEW if name in SEARCHED else FORMATS


@pytest.mark.parametrize("name", HARDWARE)
def test_every_format_has_a_price_or_a_reason(name):
    check_prices(name, formats_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHED)
def test_every_format_has_a_price_or_a_reason_where_mappings_are_searched(name):
    check_prices(name, FORMATS)


def check_prices(name, formats):
    prices = {text: priced(name, text)[0] for text in formats}
    numbers = {text: price for text, price in prices.items() if not isinstance(price, str)}
    assert {"INT2", "INT4", "INT8", "BIPOLAR", "TERNARY"} <= set(numbers)
    assert all(math.isfinite(price) and price > 0 for price in numbers.values())
    for text in set(formats) - set(numbers):
        reason = prices[text]
        assert reason.startswith("fc "), reason
        units = f"no energy for a MAC of {text} x INT8 (rows: BIPOLARxBIPOLAR, "
        core = (
            f"fc has {text} weights, the core multiplies BIPOLAR, TERNARY and integers up to 8 bits; choose"
        )
        registers = "what would mend it: weights at <= 8 bits"
        assert units in reason or core in reason or registers in reason, reason
        if units in reason:
            assert f'add a row under mac.relative of the hardware YAML, such as {{"{text}xINT8"' in reason


@pytest.mark.parametrize("name", HARDWARE)
def test_price_grows_with_the_stored_bits(name):
    """Among the Formats of one unit: integers, which every hardware multiplies."""
    integers = [text for text in formats_of(name) if re.fullmatch(r"INT([2-9]|1[0-6])", text)]
    found = [priced(name, text)[0] for text in integers]
    numbers = [price for price in found if not isinstance(price, str)]
    assert len(numbers) >= 4
    assert numbers == sorted(numbers)
    assert numbers[0] < numbers[-1]


@pytest.mark.parametrize("name", HARDWARE)
def test_formats_of_one_width_and_unit_cost_the_same(name):
    by_width = {}
    for text in formats_of(name):
        fmt, price = parse_tensor_format(text).format, priced(name, text)[0]
        if integer_width(fmt) == fmt.bits and not isinstance(price, str):
            by_width.setdefault(fmt.bits, set()).add(price)
    assert len(by_width) >= 5
    assert all(len(prices) == 1 for prices in by_width.values())


def test_the_closed_form_says_what_it_extrapolates():
    for text in FORMATS:
        _, notes = priced("moons-2mb", text)
        extrapolated = any(note.startswith(f"model extrapolated: {text} by storage bits") for note in notes)
        fmt = parse_tensor_format(text).format
        assert extrapolated == (integer_width(fmt) is None), text


@pytest.mark.parametrize("name", ["moons-2mb", "eyeriss-timeloop"])
def test_scales_of_groups_and_blocks_are_stored(name):
    plain, coarse, fine = (priced(name, text)[0] for text in ("INT4", "INT4/group32", "INT4/group8"))
    assert plain < coarse <= fine
    assert priced(name, "MXFP4_E2M1")[0] > priced(name, "FP4_E2M1")[0]
    assert priced(name, "INT4/channel*pot")[0] == plain  # folded into the requantization


def test_bits_of_groups_and_blocks():
    layer = Layer("fc", "linear", 1, 4, 64, 1, 1, 1, 1)
    for text, each in (("INT4/group16", 6.0), ("INT4/group64*pot", 4.125), ("MXFP4_E2M1", 4.25), ("INT4", 4)):
        chosen = replace(layer, weight_format=parse_tensor_format(text))
        assert chosen.weight_storage_bits == each * 256
        assert chosen.stored_bits_per_weight == math.ceil(each)
