"""What post-training quantization is given, checked before any work: the network, and the images.

All errors are PtqErrors that say what was expected, what came and what to do.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bitjoule.network import Network
from bitjoule.scheme import Scheme
from bitjoule.train.parameters import unfit_parameter
from bitjoule.train.ptq.config import PtqConfig, PtqError, PtqWarning

__all__ = ["FEW_IMAGES", "batched", "check_network", "check_request", "gathered", "image_shape"]

FEW_IMAGES = 32


def check_network(net: Network) -> None:
    """Evaluation mode, no quantizers yet, one image input, finite weights; PtqError otherwise."""
    if not isinstance(net, Network):
        raise PtqError(
            f"ptq: expected a Network, got {type(net).__name__}; capture a torch module first: "
            "bj.capture(model, input_shape=(1, 3, 32, 32)).eval()"
        )
    if net.quantized:
        raise PtqError(
            f"ptq: {net.name} has quantizers of scheme {str(net.scheme)!r} already; give the float network"
        )
    for name, module in net.module.named_modules():
        if module.training:
            where = f"module {name!r}" if name else "the network"
            raise PtqError(f"ptq: {where} of {net.name} is in training mode; call net.eval() first")
    if len(net.graph.inputs) != 1:
        raise PtqError(
            f"ptq: {net.name} has {len(net.graph.inputs)} inputs ({', '.join(net.graph.inputs)}); "
            "calibration takes networks with one"
        )
    for name, value in net.module.named_buffers():
        if name.rpartition(".")[2] == "running_var" and bool((value < 0).any()):
            raise PtqError(f"ptq: {name} holds a variance below 0; mend the network before quantizing it")
    unfit = unfit_parameter(net)
    if unfit is not None:
        raise PtqError(f"ptq: {unfit} holds NaN or infinite values; mend the network before quantizing it")


def check_request(scheme: object, config: object, seed: object) -> None:
    """Types of what a caller asks for; PtqError for others."""
    if not isinstance(scheme, str | Scheme):
        raise PtqError(f"ptq: scheme must be a Scheme or its text such as 'w4a8', not {scheme!r}")
    if config is not None and not isinstance(config, PtqConfig):
        raise PtqError(f"ptq: config must be a PtqConfig (PRESETS has three), not {type(config).__name__}")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise PtqError(f"ptq: seed must be a whole number 0 .. 2^63 - 1, not {seed!r}")


def image_shape(net: Network) -> tuple[int, ...]:
    """Shape of one input without the batch."""
    return net.graph.tensors[net.graph.inputs[0]].shape[1:]


def gathered(
    images: Tensor | np.ndarray[Any, Any] | Iterable[Any] | None, net: Network, count: int, preset: str
) -> Tensor:
    """The first `count` calibration images as one float32 tensor (N, ...); warns when there are few.

    Takes a tensor, an array, or an iterable of images, batches, or (batch, labels) pairs, which is read once
    and no further than needed. Labels are never looked at.

    Raises:
        PtqError: no images, another shape or dtype than the network was captured with, NaN in an image.
    """
    if images is None:
        raise PtqError(
            f"ptq: preset {preset!r} needs calibration images (512 are enough, no labels); "
            "or preset='data-free'"
        )
    shape = image_shape(net)
    single = isinstance(images, Tensor | np.ndarray) and images.ndim == 0
    if single or not isinstance(images, Tensor | np.ndarray | Iterable):
        what = "a single number" if single else type(images).__name__
        raise PtqError(
            f"calibration_images: expected a tensor (N, ...) or an iterable of batches, not {what}"
        )
    tensor = (
        _tensor(images[:count]) if isinstance(images, Tensor | np.ndarray) else _taken(images, shape, count)
    )
    if tensor.shape[1:] != shape or tensor.dim() == 0:
        _wrong_shape(tensor, shape)
    if len(tensor) == 0:
        raise PtqError("ptq: there are 0 calibration images; give at least 1, better 512")
    if not tensor.is_floating_point():
        raise PtqError(
            f"calibration_images: expected float images as the network was trained on, got {tensor.dtype}; "
            "normalise them (zoo.batches does), for the network carries no normalisation of its own"
        )
    tensor = tensor.float()  # float64 beyond its range is no number any more
    bad = ~torch.isfinite(tensor.flatten(1)).all(1)
    if bool(bad.any()):
        raise PtqError(f"calibration_images: image {int(bad.nonzero()[0])} holds NaN or infinite values")
    if len(tensor) < FEW_IMAGES:
        warnings.warn(
            f"ptq: only {len(tensor)} calibration images; ranges are uncertain below {FEW_IMAGES}, "
            "512 are enough",
            PtqWarning,
            stacklevel=3,
        )
    return tensor


def _tensor(images: Tensor | np.ndarray[Any, Any]) -> Tensor:
    if isinstance(images, Tensor):
        return images.detach()
    try:
        return torch.from_numpy(np.ascontiguousarray(images))
    except TypeError:
        raise PtqError(
            f"calibration_images: expected an array of numbers, got one of {images.dtype}"
        ) from None


def _taken(images: Iterable[Any], shape: tuple[int, ...], count: int) -> Tensor:
    found: list[Tensor] = []
    have = 0
    for item in images:
        batch = item[0] if isinstance(item, tuple | list) and item else item
        if not isinstance(batch, Tensor | np.ndarray):
            raise PtqError(
                f"calibration_images: an iterable gives images or batches as tensors, not "
                f"{type(batch).__name__}"
            )
        tensor = _tensor(batch)
        tensor = tensor[None] if tensor.dim() == len(shape) else tensor
        found.append(tensor[: count - have])
        have += len(found[-1])
        if have >= count:
            break
    if not found:
        raise PtqError("ptq: there are 0 calibration images; give at least 1, better 512")
    try:
        return torch.cat(found)
    except RuntimeError:
        sizes = sorted({tuple(t.shape[1:]) for t in found})
        raise PtqError(
            f"calibration_images: images of different shapes: {sizes}; give images alone, of shape "
            f"(N, {', '.join(map(str, shape))}), or an iterable of (images, labels) batches"
        ) from None


def _wrong_shape(tensor: Tensor, shape: tuple[int, ...]) -> None:
    def shown(sizes: Iterable[int]) -> str:
        return "(" + ", ".join(["N", *map(str, sizes)]) + ")"

    hint = ""
    if len(shape) == 3 and tuple(tensor.shape[1:]) == (shape[1], shape[2], shape[0]):
        hint = ": channels last? use .permute(0, 3, 1, 2)"
    elif tuple(tensor.shape) == shape:
        hint = ": one image? use [None]"
    got = shown(tensor.shape[1:]) if tensor.dim() > 1 else str(tuple(tensor.shape))
    if tuple(tensor.shape) == shape:
        got = "(" + ", ".join(map(str, tensor.shape)) + ")"
    raise PtqError(f"calibration_images: expected {shown(shape)}, got {got}{hint}")


def batched(images: Tensor, size: int) -> list[Tensor]:
    """`images` in batches, channels last in memory where they are pictures."""
    parts = torch.split(images, size)
    if images.dim() != 4:
        return list(parts)
    return [p.contiguous(memory_format=torch.channels_last) for p in parts]
