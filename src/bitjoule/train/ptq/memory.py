"""Running out of memory in calibration: batches are halved down to one image, then the layer is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import Tensor

from bitjoule.train.ptq.config import PtqError

__all__ = ["OutOfMemory", "halving", "is_out_of_memory"]

T = TypeVar("T")
_TEXTS = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class OutOfMemory(PtqError):
    """A layer did not fit; the text names it and says how much its inputs are."""

    def __init__(self, layer: str, inputs: list[Tensor]) -> None:
        images = max((len(x) for x in inputs if x.dim()), default=0)
        size = sum(x.numel() * x.element_size() for x in inputs) / 2**20
        super().__init__(
            f"ptq: out of memory at {layer!r}: its inputs alone take {size:.1f} MiB for a batch of {images}; "
            "every activation is held for all images, so give fewer of them (calibration_count)"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of the allocators, of Python, torch or an accelerator.

    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
    True
    """
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _TEXTS)


def halving(size: int, work: Callable[[int], T], say: Callable[[str], object]) -> T:
    """`work(size)`, and with half of the size again while it raises OutOfMemory and the size is above 1.

    >>> halving(8, lambda size: size, print)
    8
    """
    while True:
        try:
            return work(size)
        except OutOfMemory:
            if size == 1:
                raise
        size //= 2
        say(f"out of memory: again in batches of {size}")
