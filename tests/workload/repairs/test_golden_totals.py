"""ResNet-18 at 224x224: the totals that training.md section 3 gives for checks."""

import functools

import pytest

from bitjoule import zoo
from bitjoule.network import capture
from bitjoule.workload import Graph, workload_of
from tests.workload.repairs.chains import elements

BINARY_OUTPUTS = 1_505_280  # 4 (64 56^2 + 128 28^2 + 256 14^2 + 512 7^2)


@functools.cache
def graph(name: str) -> Graph:
    return capture(zoo.build(name, {}, seed=0), input_shape=zoo.input_shape(name, {}), name=name).graph


@pytest.mark.slow
def test_resnet18() -> None:
    resnet = graph("resnet18")
    single = workload_of(resnet, "hpr-w1a1")
    assert elements(single)["add"] == BINARY_OUTPUTS // 2
    assert single.layer("conv1").macs == 118_013_952
    assert sum(layer.macs for layer in single.layers if "downsample" in layer.name) == 19_267_584
    assert single.layer("fc").macs == 512_000
    names = "+".join(("w1a1", "double_residual", "prelu", "scale_xnorpp"))
    full = workload_of(resnet, names)
    residuals = [o for o in full.operations if o.kind == "add"]
    assert (len(residuals), elements(full)["add"]) == (16, BINARY_OUTPUTS)
    assert elements(full)["prelu"] == elements(full)["mul"] == BINARY_OUTPUTS
    norms = {o.name: o.elements for o in full.operations if o.kind == "batch_norm"}
    assert sum(count for name, count in norms.items() if ".bn" in name) == BINARY_OUTPUTS


@pytest.mark.slow
def test_reactnet18_is_resnet18_with_its_repairs() -> None:
    react = workload_of(graph("reactnet18"), "w1a1+double_residual")
    assert elements(react)["prelu"] == BINARY_OUTPUTS
    shifts = 4 * (64 * 56**2 + 128 * 28**2 + 256 * 14**2 + 512 * 7**2)
    shifts += 64 * 56**2 - 128 * 28**2 + 128 * 28**2 - 256 * 14**2 + 256 * 14**2 - 512 * 7**2
    # 16 residual adds, two shifts of every RPReLU (the last one included), one learned shift per sign
    assert elements(react)["add"] == 3 * BINARY_OUTPUTS + shifts
