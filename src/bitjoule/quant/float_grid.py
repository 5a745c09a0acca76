"""Rounding to small floats in torch (FP8, FP6, FP4 and others that saturate), as `formats.minifloat` does.

    p = 2^max(e, emin), e the exponent of u;  out = clamp((u + c p) - c p, -max, max),  c = 1.5 2^(k - m)

m mantissa bits of the Format, k those of the arithmetic (23 or 52): the sum has no bits below p 2^-m, so the
addition itself rounds, half to even. The sign of zero is kept. Up to 7 exponent bits, so that all stays
within float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bitjoule.formats import Minifloat

__all__ = ["FloatGrid"]

FLOAT32_EXPONENT, FLOAT64_EXPONENT = 0x7F800000, 0x7FF0000000000000
"""The exponent fields."""
MOST_EXPONENT_BITS = 7


class FloatGrid(nn.Module):
    """Rounds tensors to the numbers of a small float that saturates (`takes` tells which).

    >>> from bitjoule.formats import minifloat
    >>> FloatGrid(minifloat(2, 1)).nearest(torch.tensor([0.25, 0.75, 2.5, -9.0])).tolist()
    [0.0, 1.0, 2.0, -6.0]
    """

    def __init__(self, fmt: Minifloat) -> None:
        super().__init__()
        self.low, self.high = fmt.min_level, fmt.max_level
        self.mantissa_bits = fmt.mantissa_bits
        self.least = 2.0**fmt.min_exponent
        self.most = 2.0 ** ((1 << (fmt.exponent_bits - 1)) + 1)

    @staticmethod
    def takes(fmt: Minifloat) -> bool:
        """Whether its largest number is within float32 and stands for all above it.

        >>> from bitjoule.formats import minifloat
        >>> [FloatGrid.takes(minifloat(e, m)) for e, m in ((4, 3), (5, 10), (8, 4))]
        [True, False, False]
        """
        return fmt.overflow == "saturate" and fmt.exponent_bits <= MOST_EXPONENT_BITS

    def nearest(self, u: Tensor) -> Tensor:
        """The nearest number of the Format for every element of `u` (float32 or float64), in the same dtype;
        the largest beyond it, NaN for NaN.
        """
        double = u.dtype == torch.float64
        fields = u.view(torch.int64 if double else torch.int32)
        power = (fields & (FLOAT64_EXPONENT if double else FLOAT32_EXPONENT)).view(u.dtype)
        coarse = power.clamp(self.least, self.most).mul_(
            1.5 * 2.0 ** ((52 if double else 23) - self.mantissa_bits)
        )
        return (u + coarse).sub_(coarse).clamp_(self.low, self.high).copysign_(u)
