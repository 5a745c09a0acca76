"""Bins are numpy's; growth only merges them."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitjoule.quant.calibration.histogram import Histogram


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60), st.sampled_from([8, 64, 2048]))
@settings(max_examples=150, deadline=None)
def test_one_batch_equals_numpy(values, bins):
    x = np.array(values)
    if not np.abs(x).max() > 1e-30:
        return
    h = Histogram(bins)
    h.add(torch.from_numpy(x)[None])
    top = np.abs(x).max()
    assert h.top.tolist() == [top]
    np.testing.assert_array_equal(h.counts[0], np.histogram(np.abs(x), bins, (0, top))[0])


def test_growth_merges_pairs_and_loses_nothing():
    g = torch.Generator().manual_seed(1)
    batches = [torch.zeros(2, 5), *(torch.randn(2, 50, generator=g) * 3.0**i for i in range(4))]
    h = Histogram(64)
    for batch in batches:
        h.add(batch)
    everything = torch.cat(batches, 1).abs().double().numpy()
    for row in range(2):
        expected = np.histogram(everything[row], 64, (0, h.top[row]))[0]
        assert h.counts[row].sum() == 205
        # the value that was once the top lay in the last, closed bin; it may be one bin lower
        assert np.abs(np.cumsum(h.counts[row]) - np.cumsum(expected)).max() <= 1
