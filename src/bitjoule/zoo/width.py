"""The width rule: how many channels a layer keeps when a network is made narrower or wider.

The divisor rule of MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381; `_make_divisible` in torchvision),
divisor 8. It scales channel counts only: never the image, the classes, kernels, depths or squeeze ratios.
"""

import math

__all__ = ["DIVISOR", "scaled"]

DIVISOR = 8


def scaled(channels: int, width: float) -> int:
    """Return `channels` at width multiplier `width`, a multiple of 8 that loses at most a tenth.

    `scaled(c, w) = max(8, int(c w + 4) // 8 * 8)`, plus 8 where that is below 0.9 c w. Width 1 changes
    nothing, even a count that is not a multiple of 8. Raises ValueError when `channels` is not positive or
    `width` is not positive and finite.

    >>> scaled(32, 0.25), scaled(24, 0.35), scaled(1280, 1.4), scaled(10, 1.0)
    (8, 8, 1792, 10)
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1, not {channels}")
    if not (math.isfinite(width) and width > 0):
        raise ValueError(f"width must be a positive number such as 0.25 or 1.0, not {width}")
    if width == 1:
        return channels
    exact = channels * width
    nearest = max(DIVISOR, int(exact + DIVISOR / 2) // DIVISOR * DIVISOR)
    return nearest if nearest >= 0.9 * exact else nearest + DIVISOR
