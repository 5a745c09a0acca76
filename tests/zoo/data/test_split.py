"""Splits are disjoint, exact and the same for every seed."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitjoule.zoo.data.records import DataError
from bitjoule.zoo.data.split import hash_order, limited, split_indices


@given(st.integers(2, 400), st.floats(0.01, 0.99))
def test_every_index_once_and_the_share_exact(count: int, validation: float) -> None:
    held = round(validation * count)
    if held in (0, count):
        with pytest.raises(DataError, match="leaves a split empty"):
            split_indices(count, validation)
        return
    train, val = split_indices(count, validation)
    assert len(val) == held
    assert sorted([*train.tolist(), *val.tolist()]) == list(range(count))
    assert train.tolist() == sorted(train.tolist()) and val.tolist() == sorted(val.tolist())


def test_cifar_and_digits_counts() -> None:
    assert [len(part) for part in split_indices(50_000, 0.1)] == [45_000, 5_000]
    assert [len(part) for part in split_indices(1_437, 0.1)] == [1_293, 144]


def test_the_rule_is_the_hash_of_the_index() -> None:
    train, val = split_indices(100, 0.25)
    digests = {i: hashlib.sha256(f"bitjoule-split:{i}".encode()).hexdigest() for i in range(100)}
    assert max(digests[i] for i in val.tolist()) < min(digests[i] for i in train.tolist())


def test_limits_keep_a_seeded_part() -> None:
    indices = np.arange(10, 60, dtype=np.int64)
    a, b, c = (limited(indices, 8, seed) for seed in (0, 0, 1))
    assert a.tolist() == b.tolist() != c.tolist()
    assert len(a) == 8 and set(a.tolist()) <= set(indices.tolist())
    assert limited(indices, None, 0) is indices
    assert limited(indices, 99, 0).tolist() == indices.tolist()
    with pytest.raises(DataError, match="a limit must be at least 1 image, not 0"):
        limited(indices, 0, 0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_impossible_shares(share: float) -> None:
    with pytest.raises(DataError, match=r"validation must be a share between 0 and 1 such as 0\.1"):
        split_indices(10, share)


def test_hash_order_is_a_permutation() -> None:
    assert sorted(hash_order(500, "x").tolist()) == list(range(500))
    assert hash_order(500, "x").tolist() != hash_order(500, "y").tolist()
