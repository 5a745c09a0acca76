"""Sensitivities: vectors, the effect of bits, brute force, and their way into the integer programme."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bitjoule.network import Network, fold_batch_norm
from bitjoule.train.ptq import PtqConfig, PtqError, ptq
from bitjoule.train.ptq.output_loss import divergence
from bitjoule.train.ptq.save import save_quantized
from bitjoule.train.ptq.sensitivity import Sensitivity, sensitivities

BITS = ("2", "4", "8")


@pytest.mark.parametrize("kind", ["kl", "loss", "accuracy_drop", "sqnr", "hessian", "fisher"])
def test_fewer_bits_hurt_more(tiny: Network, images: Tensor, kind: str) -> None:
    with torch.no_grad():
        labels = tiny(images).argmax(1)
    found = sensitivities(
        tiny,
        images,
        weights=BITS,
        activations=BITS,
        kind=kind,
        labels=labels,
        count=32,
        batch=16,  # type: ignore[arg-type]
    )
    weights = found.of("weight")
    assert set(weights) == {"stem", "conv1", "conv2", "grouped", "head"}
    for role in ("weight", "activation"):
        total = [sum(row.value for row in found.rows if row.role == role and row.token == b) for b in BITS]
        if kind == "loss":  # noise may lower the loss of labels that are the network's own
            total = [abs(value) for value in total]
            assert total[0] >= total[2]
        else:
            assert total[0] >= total[1] >= total[2]
    assert (kind in ("hessian", "fisher")) == (found.of("activation") == {})


def test_one_weight_alone_equals_brute_force(tiny: Network, images: Tensor) -> None:
    found = sensitivities(tiny, images, weights=("2",), activations=("8",), count=64, batch=16)
    folded = fold_batch_norm(tiny)
    brute = ptq(tiny, images, "w2a8[first=same,last=same]", config=PtqConfig())
    with torch.no_grad():
        wanted = folded(images)
        for name in ("conv1", "grouped"):
            alone = folded.clone()
            alone.module.get_parameter(f"{name}.weight").copy_(brute.module.get_parameter(f"{name}.weight"))
            expected = float(divergence(wanted, alone(images)).mean())
            assert found.of("weight")[name]["2"] == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_errors(tiny: Network, images: Tensor) -> None:
    with pytest.raises(PtqError, match=r"sensitivities: kind must be one of kl, loss, .*; not 'nope'"):
        sensitivities(tiny, images, kind="nope")  # type: ignore[arg-type]
    with pytest.raises(
        PtqError, match=r"sensitivities: kind 'loss' needs labels; give labels=, or kind='kl'"
    ):
        sensitivities(tiny, images, kind="loss")


def test_the_way_to_a_scheme_within_a_budget(tiny: Network, images: Tensor, tmp_path) -> None:  # type: ignore[no-untyped-def]
    from bitjoule import hardware
    from bitjoule.search.programme import Budget, solve
    from bitjoule.search.programme_energy import energy_table
    from bitjoule.search.programme_genes import network_genes

    found = sensitivities(tiny, images, weights=BITS, activations=BITS, count=32)
    genes = network_genes(fold_batch_norm(tiny).graph, "int8", weights=BITS, activations=BITS)
    table = energy_table(genes, hardware.load("moons-4mb"))
    programme = table.programme(found.of("weight"), found.of("activation"))
    widest = programme.value(genes.widest(), "energy_pj")
    answer = solve(programme, Budget(energy_pj=0.7 * widest))
    assert answer.energy_pj <= 0.7 * widest and answer.loss > 0
    quantized = ptq(tiny, images, genes.scheme_of(answer.assignment))
    folder = save_quantized(tmp_path / "out", quantized, sensitivities=found)
    files = {path.name for path in folder.iterdir()}
    assert files == {"weights.safetensors", "workload.json", "card.json", "sensitivity.svg"}


def test_the_same_seed_measures_the_same(tiny: Network, images: Tensor) -> None:
    def rows(seed: int) -> tuple[Sensitivity, ...]:
        return sensitivities(
            tiny, images, weights=("2",), activations=(), kind="hessian", count=32, batch=32, seed=seed
        ).rows

    assert rows(0) == rows(0) != rows(1)
