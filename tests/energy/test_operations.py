"""Elementary operations per output element (energy.md 5.3)."""

from __future__ import annotations

import pytest

from bitjoule.energy import UnknownOperation
from bitjoule.energy.operations import Elementary, elementary_operations, require_known
from bitjoule.formats import parse_tensor_format
from bitjoule.workload import Operation, StoredTensor, Workload
from bitjoule.workload.graph import MAC_OPS, OPS


def count(kind: str, elements: int = 8, source: int = 8, bits: int = 8, **attributes: object) -> Elementary:
    tensor = StoredTensor("x", source, parse_tensor_format(f"INT{bits}"), "feature")
    operation = Operation("o", kind, ("x",), "y", elements, attributes=attributes)  # type: ignore[arg-type]
    return elementary_operations(operation, Workload("n", "s", (), (operation,), {"x": tensor}))


@pytest.mark.parametrize(
    ("found", "golden"),
    [
        (count("add"), Elementary(adds=1)),
        (count("relu6"), Elementary(adds=2)),
        (count("batch_norm"), Elementary(adds=1, muls=1)),
        (count("max_pool", kernel=(2, 2)), Elementary(adds=3)),
        (count("max_pool", kernel=3), Elementary(adds=8)),
        (count("avg_pool", kernel=(3, 3)), Elementary(adds=8, muls=1)),
        (count("global_avg_pool", elements=8, source=8 * 49), Elementary(adds=48, muls=1)),
        (count("gelu", bits=8), Elementary(lookups=1)),
        (count("gelu", bits=16), Elementary(adds=10, muls=11)),
        (count("softmax", row=4), Elementary(adds=3 + 6 + 1, muls=6 + 1 + 1)),
        (count("layer_norm", row=4), Elementary(adds=3 + 1, muls=3 + 1)),
        (count("flatten"), Elementary()),
    ],
)
def test_table(found: Elementary, golden: Elementary) -> None:
    assert found == golden


def test_every_operator_a_graph_may_hold_has_a_count() -> None:
    for kind in sorted(OPS - MAC_OPS):
        assert count(kind, kernel=(2, 2)).total >= 0


def test_unknown_operators_are_reported_all_at_once() -> None:
    operations = tuple(Operation(k, k, (), k, 1) for k in ("zeta", "add", "alpha"))
    with pytest.raises(UnknownOperation) as caught:
        require_known(Workload("n", "s", (), operations))
    assert caught.value.kinds == ("alpha", "zeta")
    assert str(caught.value).startswith("no operation count for alpha, zeta; operators with one: add, ")
    with pytest.raises(UnknownOperation, match="no operation count for zeta"):
        count("zeta")
