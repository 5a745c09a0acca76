"""Scales of a tensor: how many there are (granularity) and which numbers they may be (kind)."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bitjoule.formats.quotient import check_scale

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Granularity", "ScaleKind", "Scaling", "dyadic_parts", "parse_scaling"]

Granularity = Literal["tensor", "channel", "group"]
ScaleKind = Literal["float", "pot", "dyadic"]

_POT_EXPONENTS = (-126, 127)
_DYADIC_BITS = (2, 31)
_SQRT_HALF = math.sqrt(0.5)  # as a float64 just above the real number: no float64 equals it


@dataclass(frozen=True)
class Scaling:
    """Granularity and kind of the scales of one tensor, and whether it has a zero-point.

    granularity
        ``tensor`` one scale; ``channel`` one per index of ``axis``; ``group`` the tensor is flattened to
        (axis, everything else in C order) and cut into runs of ``group_size``, the last run may be shorter.
    kind
        ``float`` a float32; ``pot`` a power of two 2**k, k in -126 .. 127; ``dyadic`` m * 2**-e with m an
        integer of exactly ``mantissa_bits`` bits.

    >>> str(Scaling("group", 128, "dyadic"))
    '/group128*dyadic'
    """

    granularity: Granularity = "tensor"
    group_size: int = 0
    kind: ScaleKind = "float"
    mantissa_bits: int = 31
    zero_point: bool = False

    def __post_init__(self) -> None:
        if self.granularity not in ("tensor", "channel", "group"):
            raise ValueError(f"granularity is tensor, channel or group<size>, not {self.granularity!r}")
        if self.kind not in ("float", "pot", "dyadic"):
            raise ValueError(f"scale kind is float, pot or dyadic<bits>, not {self.kind!r}")
        if self.granularity == "group" and self.group_size < 1:
            raise ValueError(f"a group holds at least 1 element, not {self.group_size}; write /group128")
        if self.granularity != "group" and self.group_size != 0:
            raise ValueError(f"group_size {self.group_size} needs granularity group, not {self.granularity}")
        low, high = _DYADIC_BITS
        if self.kind == "dyadic" and not low <= self.mantissa_bits <= high:
            raise ValueError(f"dyadic takes {low} to {high} mantissa bits, not {self.mantissa_bits}")
        if self.kind != "dyadic" and self.mantissa_bits != high:
            raise ValueError(f"mantissa_bits {self.mantissa_bits} needs kind 'dyadic', not {self.kind!r}")

    def scale_shape(self, shape: tuple[int, ...], axis: int = 0) -> tuple[int, ...]:
        """Shape of the scales of a tensor: ``()``, ``(channels,)`` or ``(channels, groups)``.

        >>> Scaling("group", 128).scale_shape((64, 32, 3, 3))
        (64, 3)
        """
        if self.granularity == "tensor":
            return ()
        channels = shape[_axis(shape, axis)]
        if self.granularity == "channel":
            return (channels,)
        return (channels, -(-_rest(shape, axis) // self.group_size))

    def scale_bits(self) -> int:
        """Storage bits of one scale: float 32, pot 8, dyadicB B + 8.

        >>> Scaling(kind="dyadic").scale_bits()
        39
        """
        match self.kind:
            case "float":
                return 32
            case "pot":
                return 8
            case "dyadic":
                return self.mantissa_bits + 8

    def overhead_bits(self, shape: tuple[int, ...], axis: int = 0, zero_point_bits: int = 0) -> int:
        """Storage bits of all scales, and of their zero-points if there are any.

        ``zero_point_bits`` is the width of the Format; ``TensorFormat.overhead_bits`` fills it in.

        >>> Scaling("channel").overhead_bits((64, 32, 3, 3))
        2048
        """
        if self.zero_point and zero_point_bits < 1:
            raise ValueError(f"overhead_bits: a zero-point has the bits of its Format, not {zero_point_bits}")
        each = self.scale_bits() + (zero_point_bits if self.zero_point else 0)
        return math.prod(self.scale_shape(shape, axis)) * each

    def expand(self, scale: ArrayLike, shape: tuple[int, ...], axis: int = 0) -> NDArray[np.float64]:
        """Scales (or zero-points) of shape ``scale_shape(shape, axis)``, broadcastable against the tensor.

        >>> Scaling("channel").expand([0.5, 0.25], (2, 3, 1, 1)).shape
        (2, 1, 1, 1)
        """
        s = np.asarray(scale)
        wanted = self.scale_shape(shape, axis)
        if s.shape != wanted:
            raise ValueError(f"{self} scales of a tensor {shape} have the shape {wanted}, not {s.shape}")
        if self.granularity == "tensor":
            return s
        axis = _axis(shape, axis)
        if self.granularity == "channel":
            return s.reshape([-1 if i == axis else 1 for i in range(len(shape))])
        flat = np.repeat(s, self.group_size, axis=1)[:, : _rest(shape, axis)]
        moved = (shape[axis], *shape[:axis], *shape[axis + 1 :])
        return np.moveaxis(flat.reshape(moved), 0, axis)

    def snap(self, scale: ArrayLike, mode: Literal["ceil", "nearest"] = "ceil") -> NDArray[np.float64]:
        """The nearest scales of this kind, as float64.

        ``mode`` is for ``pot``: ``ceil`` is 2**ceil(log2 s), which never clips more (TQT, Jain et al. 2020,
        arXiv 1903.08066); ``nearest`` is 2**round(log2 s). ``float`` and ``dyadic`` always go to the nearest,
        half even.

        >>> Scaling(kind="pot").snap([0.3, 0.5])
        array([0.5, 0.5])
        """
        if mode not in ("ceil", "nearest"):
            raise ValueError(f"snap: mode must be ceil or nearest, not {mode!r}")
        s = check_scale(scale, np.dtype(np.float64))
        match self.kind:
            case "float":
                return check_scale(s, np.dtype(np.float32)).astype(np.float64)
            case "pot":
                f, x = np.frexp(s)
                down = f == 0.5 if mode == "ceil" else f < _SQRT_HALF
                return np.asarray(np.ldexp(1.0, np.clip(x - down, *_POT_EXPONENTS)), np.float64)
            case "dyadic":
                m, e = dyadic_parts(s, self.mantissa_bits)
                return np.asarray(np.ldexp(m.astype(np.float64), -e), np.float64)

    def __str__(self) -> str:
        """The suffix of a TensorFormat, without defaults; empty for a float scale per tensor."""
        size = str(self.group_size) if self.granularity == "group" else ""
        mantissa = str(self.mantissa_bits) if self.mantissa_bits != _DYADIC_BITS[1] else ""
        return (
            ("" if self.granularity == "tensor" else f"/{self.granularity}{size}")
            + ("" if self.kind == "float" else f"*{self.kind}{mantissa}")
            + ("+zp" if self.zero_point else "")
        )


def dyadic_parts(scale: ArrayLike, bits: int = 31) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The integers m in [2**(bits-1), 2**bits) and e of the nearest ``m * 2**-e``.

    >>> m, e = dyadic_parts(0.0123)
    >>> int(m), int(e)
    (1690499128, 37)
    """
    low, high = _DYADIC_BITS
    if not low <= bits <= high:
        raise ValueError(f"dyadic takes {low} to {high} mantissa bits, not {bits}")
    f, x = np.frexp(check_scale(scale, np.dtype(np.float64)))
    m = np.rint(np.ldexp(f, bits)).astype(np.int64)
    carry = m == 1 << bits
    return np.where(carry, 1 << (bits - 1), m), np.asarray(bits - (x + carry), np.int64)


_SUFFIX = re.compile(r"(/(?P<granularity>[^/*+]*))?(\*(?P<kind>[^/*+]*))?(?P<zp>\+zp)?")


def parse_scaling(text: str) -> Scaling:
    """The Scaling of a suffix ``[/granularity][*kind][+zp]`` in any case.

    >>> parse_scaling("/channel*pot").kind
    'pot'
    """
    match = _SUFFIX.fullmatch(text.lower())
    if not match:
        raise ValueError(f"a scaling is [/granularity][*kind][+zp] in this order, not {text!r}")
    granularity, group_size = _granularity(match["granularity"])
    kind, mantissa_bits = _kind(match["kind"])
    return Scaling(granularity, group_size, kind, mantissa_bits, bool(match["zp"]))


def _granularity(text: str | None) -> tuple[Granularity, int]:
    """Granularity and group size; None is the default."""
    if text is None or text == "tensor":
        return "tensor", 0
    if text == "channel":
        return "channel", 0
    group = re.fullmatch(r"group([0-9]{1,9})", text)
    if not group:
        raise ValueError(f"granularity is tensor, channel or group<size>, not {text!r}")
    return "group", int(group[1])


def _kind(text: str | None) -> tuple[ScaleKind, int]:
    """Kind and mantissa bits; None is the default."""
    if text is None or text == "float":
        return "float", _DYADIC_BITS[1]
    if text == "pot":
        return "pot", _DYADIC_BITS[1]
    dyadic = re.fullmatch(r"dyadic([0-9]{0,3})", text)
    if not dyadic:
        raise ValueError(f"scale kind is float, pot or dyadic<bits>, not {text!r}")
    return "dyadic", int(dyadic[1] or _DYADIC_BITS[1])


def _axis(shape: tuple[int, ...], axis: int) -> int:
    if not -len(shape) <= axis < len(shape):
        raise ValueError(f"axis {axis} is outside a tensor of shape {tuple(shape)}")
    return axis % len(shape)


def _rest(shape: tuple[int, ...], axis: int) -> int:
    """Elements per index of the axis."""
    axis = _axis(shape, axis)
    return math.prod(shape[:axis]) * math.prod(shape[axis + 1 :])
