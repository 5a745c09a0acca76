"""A one-bit quantizer absorbs what only moves its threshold."""

from bitjoule.workload import workload_of
from tests.workload.repairs.chains import Shape, block, plain


def kinds(scheme: str, *, residual: bool) -> list[tuple[str, str]]:
    workload = workload_of(block(Shape()) if residual else plain(Shape()), scheme)
    return [(operation.name, operation.kind) for operation in workload.operations]


def test_norms_before_signs_are_thresholds() -> None:
    # bn0 is read by conv alone, bn by the pool, which reads one bit under w1a1
    assert kinds("w1a1", residual=False) == [("pool", "global_avg_pool")]


def test_norms_of_wider_tensors_are_computed() -> None:
    assert [name for name, _ in kinds("w2a2", residual=False)] == ["bn0", "bn", "pool"]
    # bn0 feeds a shortcut of 8 bits, bn2 an add; signs alone see bn1, and the shortcut bn3 has one bit in SP
    assert [name for name, _ in kinds("w1a1", residual=True)] == ["bn0", "bn2", "add", "pool"]
    wide = {name for name, _ in kinds("hpr-w1a1", residual=True)}
    assert wide == {"bn0", "bn2", "bn3", "add", "pool"}
