"""The sample is everything while it fits, and uniform afterwards."""

import numpy as np
import torch

from bitjoule.quant.calibration.reservoir import Reservoir


def test_keeps_everything_that_fits():
    x = torch.arange(12.0).reshape(2, 6)
    r = Reservoir(capacity=12)
    r.add(x[:, :4])
    r.add(x[:, 4:])
    assert torch.equal(r.values, x)
    everything = Reservoir(capacity=None)
    everything.add(x)
    assert torch.equal(everything.values, x)


def test_sample_is_uniform_and_seeded():
    hits = np.zeros(400)
    for seed in range(400):
        r = Reservoir(capacity=40, seed=seed)
        for batch in torch.arange(400.0).split(37):
            r.add(batch[None])
        kept = r.values[0].long().numpy()
        assert len(set(kept.tolist())) == 40
        hits[kept] += 1
    # each value is kept 40 times on average, standard deviation 6
    assert abs(hits[:40].mean() - 40) < 4
    assert abs(hits[-40:].mean() - 40) < 4
    assert hits.max() < 70
    assert hits.min() > 14
    a, b = Reservoir(8, seed=5), Reservoir(8, seed=5)
    for r in (a, b):
        r.add(torch.arange(100.0)[None])
    assert torch.equal(a.values, b.values)


def test_columns_stay_together():
    x = torch.arange(1000.0)
    r = Reservoir(capacity=60)
    r.add(torch.stack([x, -x, 2 * x]))
    assert r.values.shape == (3, 20)
    assert torch.equal(r.values[1], -r.values[0])
    assert torch.equal(r.values[2], 2 * r.values[0])
