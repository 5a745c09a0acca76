"""Whole networks compile into one graph, in channels_last, with the gradients they have in eager mode."""

import copy
import importlib
from pathlib import Path

import pytest
import torch

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.train import prepare_qat

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
REPAIRED = "w1a1+double_residual+rprelu+grad=approx+scale_xnor"
SELDOM = [pytest.param(scheme, marks=pytest.mark.slow) for scheme in (REPAIRED, "wFP8_E4M3aFP8_E4M3")]
SMALL = {"image_size": 8, "width": 0.25}
"""ResNet-8 of 8 channels: traced in seconds, with every kind of edge."""

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # torch's own


def steps_agree(scheme, name, options, size):
    torch._dynamo.reset()
    net = capture(zoo.build(name, options, 0), input_shape=(1, 3, size, size))
    module = prepare_qat(net, scheme).module.train().to(memory_format=torch.channels_last)
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    module(x)  # ranges of activations
    twin = copy.deepcopy(module)
    torch._dynamo.utils.counters.clear()
    compiled = torch.compile(twin, backend="aot_eager", fullgraph=True)
    for either in (module, compiled):
        torch.nn.functional.cross_entropy(either(x), torch.arange(4)).backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    assert not torch._dynamo.utils.counters["graph_break"]
    for (path, a), b in zip(module.named_parameters(), twin.parameters(), strict=True):
        if a.grad is None:
            assert b.grad is None, path
        else:
            torch.testing.assert_close(
                a.grad, b.grad, rtol=2e-3, atol=1e-5, msg=lambda m, p=path: f"{p}: {m}"
            )


@pytest.mark.parametrize("scheme", ["w4a4", "wAPOT4aUAPOT4", *SELDOM])
def test_one_graph(scheme):
    steps_agree(scheme, "resnet8", SMALL, 8)


@pytest.mark.slow
def test_every_row_of_the_speed_table_is_one_graph(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rows = importlib.import_module("training_speed").ROWS
    assert len(rows) >= 5
    for scheme in rows.values():
        steps_agree(scheme, "resnet20", {}, 32)


def test_rows_of_the_speed_table_are_printed_as_they_are_measured(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    table = importlib.import_module("training_speed")
    printed = []

    def measure(network, batch, rounds, schemes, *, compiled, peers):
        printed.append(capsys.readouterr().out)
        assert (network, batch, rounds, compiled, peers) == ("resnet8", 4, 2, (schemes[-1],), False)
        return {**dict.fromkeys(schemes, 0.5), "float32": 0.25, f"{schemes[-1]} compiled": 0.125}

    monkeypatch.setattr(table, "measure", measure)
    monkeypatch.setattr("sys.argv", ["", "--network", "resnet8", "--batch", "4", "--rounds", "2"])
    before = torch.get_num_threads()
    try:
        assert table.main() == 0
    finally:
        torch.set_num_threads(before)
    assert len(printed) == len(table.ROWS)
    assert printed[2] == "| LSQ W8A8 | 500 | 2.00 | 125 | 0.50 |\n"
    monkeypatch.setattr("sys.argv", ["", "--rounds", "1"])
    with pytest.raises(SystemExit):
        table.main()
    assert "--rounds must be 2 or more for a quartile, not 1" in capsys.readouterr().err
