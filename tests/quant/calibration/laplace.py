"""The values of the printed vectors: quantiles of a Laplace distribution (`ptq.md` section 3)."""

import numpy as np
import torch

__all__ = ["laplace"]


def laplace(n: int) -> torch.Tensor:
    """-sgn(p - 1/2) ln(1 - 2 abs(p - 1/2)) at p = (i + 1/2) / n, float64."""
    p = (np.arange(n) + 0.5) / n
    return torch.from_numpy(-np.sign(p - 0.5) * np.log(1 - 2 * np.abs(p - 0.5)))
