"""`bitjoule energy` end to end: a zoo network captured, given a scheme, counted and priced."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bitjoule.formats import parse_tensor_format
from bitjoule.workload import Layer, Workload
from tests.cli.run import bitjoule

# energy.md 2.2, reference network at 4 Mb: E_DRAM, E_C, E_W, E_A, E_inf in pJ [derived, two implementations]
GOLDEN = {
    1: (363_724.800, 30_881_565.069, 1_414_791.200, 1_120_453.425, 33_780_534.494),
    2: (32_548_945.035, 73_449_153.804, 4_312_023.734, 3_611_966.582, 113_922_089.156),
    4: (120_794_637.348, 174_692_512.590, 13_441_310.214, 11_776_284.320, 320_704_744.472),
    8: (338_887_207.548, 415_491_157.820, 42_683_811.905, 38_723_690.627, 835_785_867.901),
    16: (867_362_406.400, 988_210_082.200, 137_559_961.600, 128_141_152.800, 2_121_273_603.000),
}
E_INF_UJ = {
    "moons-1mb": (55.043280, 141.604913, 353.625355, 914.084717, 2354.057475),
    "moons-2mb": (47.283818, 132.377305, 342.651818, 861.885484, 2245.425001),
    "moons-unbounded": (33.780534, 81.805688, 200.424492, 497.510370, 1254.638646),
}


@pytest.mark.parametrize("bits", GOLDEN)
def test_reference_network_of_moons_2017(bits: int) -> None:
    done = bitjoule("energy", "vgg-moons", "--scheme", f"moons-{bits}", "--hardware", "moons-4mb", "--json")
    document = json.loads(done.stdout)
    workload, items = (
        document["workload"],
        [i for layer in document["cost"]["layers"] for i in layer["items"]],
    )
    assert (workload["macs"], workload["weights"] + workload["biases"], workload["outputs"]) == (
        266_051_584,
        1_960_960,
        344_074,
    )

    def total(component: str, tensor: str | None = None) -> float:
        return sum(
            i["energy_pj"]
            for i in items
            if i["component"] == f"moons:{component}" and tensor in (None, i["tensor"])
        )

    e_w = total("main", "weights") + total("local", "weights")
    e_a = total("main", "outputs") + total("local", "inputs")
    found = (total("dram"), total("compute"), e_w, e_a, document["cost"]["totals"]["energy_pj"])
    assert found == pytest.approx(GOLDEN[bits], rel=1e-6)


@pytest.mark.parametrize("hardware", E_INF_UJ)
def test_other_memories(hardware: str) -> None:
    for bits, expected in zip((1, 2, 4, 8, 16), E_INF_UJ[hardware], strict=True):
        done = bitjoule("energy", "vgg-moons", "--scheme", f"moons-{bits}", "--hardware", hardware, "--json")
        assert json.loads(done.stdout)["cost"]["totals"]["energy_pj"] / 1e6 == pytest.approx(
            expected, rel=1e-6
        )


def test_text_for_people() -> None:
    done = bitjoule("energy", "resnet8", "--scheme", "hpr-w4a4", "--per-layer")
    assert "resnet8 hpr-w4a4 on moons-4mb" in done.stdout
    assert "12,501,632 MACs" in done.stdout
    assert "INT16" in done.stdout


def test_width_and_options() -> None:
    half = json.loads(bitjoule("energy", "resnet20", "--width", "0.5", "--json").stdout)
    assert half["workload"]["macs"] == 10_248_512
    shallow = ("energy", "moons", "--set", "depths=1,1,1", "--set", "filters=64,64,64", "--json")
    assert json.loads(bitjoule(*shallow).stdout)["workload"]["macs"] == 13_576_192


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resnet21",), "error: unknown network 'resnet21'; did you mean 'resnet"),
        (("resnet8", "--scheme", "w4a4x"), "error: unknown scheme 'w4a4x', did you mean 'w4a4'?"),
        (("resnet8", "--hardware", "moons-4bm"), "did you mean moons-4mb?"),
        (("resnet8", "--set", "clases=10"), "error: network 'resnet8' has no option 'clases'"),
        (("resnet8", "--set", "classes"), "error: --set takes KEY=VALUE"),
        (("net.onnx",), "error: no ONNX file 'net.onnx'"),
        (("graph.json",), "error: no file 'graph.json' here"),
    ],
)
def test_bad_input(arguments: tuple[str, ...], message: str) -> None:
    done = bitjoule("energy", *arguments, code=2)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_format_that_the_hardware_cannot_run() -> None:
    done = bitjoule("energy", "resnet8", "--scheme", "fp16", "--hardware", "braintta22", code=3)
    assert "FP16" in done.stderr


def test_a_memory_hierarchy_shows_levels_by_tensor() -> None:
    arguments = ("energy", "tfc", "--hardware", "eyeriss", "--scheme", "int8")
    shown = bitjoule(*arguments).stdout
    head = next(line.split() for line in shown.splitlines() if line.strip().startswith("component"))
    assert {"weights", "inputs", "psums", "sum"} <= set(head)
    for row in ("level:dram", "level:filter_rf", "level:psum_rf", "mac", "total", "share"):
        assert any(line.split()[:1] == [row] for line in shown.splitlines())
    assert "layer mappings proven optimal" in shown
    energies = {
        residency: json.loads(bitjoule(*arguments, "--residency", residency, "--json").stdout)["cost"][
            "totals"
        ]["energy_pj"]
        for residency in ("ideal", "optimal", "none")
    }
    assert energies["ideal"] <= energies["optimal"] <= energies["none"]
    paper = json.loads(bitjoule(*arguments, "--mode", "paper", "--json").stdout)
    assert paper["cost"]["totals"]["energy_pj"] < energies["optimal"]


def test_weights_that_stay_on_chip(tmp_path: Path) -> None:
    text = bitjoule("hardware", "show", "eyeriss", "--yaml").stdout
    maps = "keeps: [inputs, outputs], bypass_allowed: [inputs, outputs]"
    assert maps in text
    everything = "[weights, inputs, outputs]"
    mine = tmp_path / "mine.yaml"
    mine.write_text(text.replace(maps, f"keeps: {everything}, bypass_allowed: {everything}"))
    arguments = ("energy", "tfc", "--width", "0.25", "--scheme", "int4", "--json", "--hardware")
    shares = [
        json.loads(bitjoule(*arguments, str(mine), *more).stdout)["cost"]["totals"]["dram_share"]
        for more in ((), ("--pin-weights",))
    ]
    assert shares[1] < 0.5 * shares[0]
    preset = json.loads(bitjoule(*arguments, "eyeriss", "--pin-weights").stdout)["cost"]
    assert preset["notes"][-1].endswith("as pin_weights would have them: glb keeps no weights")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--residency", "all"), "error: residency must be optimal, none or ideal, not 'all'"),
        (("--mode", "native"), "error: mode must be physical or paper, not 'native'"),
    ],
)
def test_bad_options(arguments: tuple[str, ...], message: str) -> None:
    assert message in bitjoule("energy", "resnet8", "--hardware", "eyeriss", *arguments, code=2).stderr


def test_a_saved_workload_is_priced_as_it_is(tmp_path: Path) -> None:
    layer = Layer("fc", "linear", 1, 32, 64, 1, 1, 1, 1, weight_format=parse_tensor_format("SVA1"))
    measured = replace(layer, weight_terms=1.03, measured_weight_bits=11_000)
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(Workload("net", "wSVA1a8", (measured,)).to_json()), encoding="utf-8")
    document = json.loads(bitjoule("energy", str(file), "--json").stdout)
    assert document["workload"]["weight_bits"] == 11_000
    assert document["cost"]["scheme"] == "wSVA1a8"
    refused = bitjoule("energy", str(file), "--scheme", "w4a4", code=2)
    assert "this workload has the Formats of 'wSVA1a8'; to price 'w4a4' give the network" in refused.stderr
    refused = bitjoule("energy", str(file), "--width", "0.5", code=2)
    assert "options (width) are for networks of the zoo, not files" in refused.stderr
    file.write_text('{"schema": "bitjoule.workload/2"}', encoding="utf-8")
    refused = bitjoule("energy", str(file), code=2)
    assert "a workload document has schema 'bitjoule.workload/1', not 'bitjoule.workload/2'" in refused.stderr
