"""From bytes to the numbers a network sees, and whether those lie on an integer grid exactly."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bitjoule.zoo.data.records import DataError

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "PREPROCESSING_KINDS", "Preprocessing"]

PREPROCESSING_KINDS = ("signed", "unit", "moons", "standard")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """One of four maps of a byte u to a float32.

    | kind | value | input grid |
    |---|---|---|
    | `signed` | (u - 128) * 2/255 | INT8, scale 2/255, exact |
    | `unit` | u * 1/255 | UINT8, scale 1/255, exact |
    | `moons` | 2u/255 - 1 (Moons 2017) | none: odd multiples of 1/255 |
    | `standard` | (u/255 - mean) / std per channel | none |

    On the two grids the value is the integer times the float32 scale, so quantizing the input changes no bit.
    `mean` and `std` belong to `standard` alone and default to ImageNet's; grey images take their average.
    """

    kind: str = "signed"
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def __post_init__(self) -> None:
        if self.kind not in PREPROCESSING_KINDS:
            raise DataError(
                f"preprocessing must be one of {', '.join(PREPROCESSING_KINDS)}, not {self.kind!r}"
            )
        if len(self.mean) != len(self.std) or not self.mean or min(self.std) <= 0:
            raise DataError(f"mean {self.mean} and std {self.std} must be as many, and std above 0")

    @property
    def input_scale(self) -> float | None:
        """The step of the integer grid all inputs lie on, or None."""
        return {"signed": 2 / 255, "unit": 1 / 255}.get(self.kind)

    @property
    def input_format(self) -> str | None:
        """The Format whose codes times `input_scale` are the inputs (zero point 0), or None."""
        return {"signed": "INT8", "unit": "UINT8"}.get(self.kind)

    def apply(self, images: Tensor) -> Tensor:
        """Map uint8 N x C x H x W to float32.

        >>> Preprocessing("signed").apply(torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)).tolist()
        [[[[-1.003921627998352, 0.0, 0.9960784912109375]]]]
        """
        values = images.to(torch.float32)
        if self.kind == "signed":
            return (values - 128) * (2 / 255)
        if self.kind == "unit":
            return values * (1 / 255)
        if self.kind == "moons":
            return 2 * values / 255 - 1
        mean, std = self.per_channel(images.shape[1], images.device)
        return (values / 255 - mean) / std

    def per_channel(self, channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return mean and std as C x 1 x 1; raises DataError when there are neither `channels` of them nor
        one image.
        """
        mean, std = self.mean, self.std
        if channels == 1 and len(mean) > 1:
            mean, std = (average(mean),), (average(std),)
        if len(mean) != channels:
            raise DataError(f"standard preprocessing has {len(mean)} means for images of {channels} channels")
        shape = (channels, 1, 1)
        return torch.tensor(mean, device=device).reshape(shape), torch.tensor(std, device=device).reshape(
            shape
        )

    def to_json(self) -> dict[str, object]:
        """Return what decides the values, for hashes and reports."""
        if self.kind != "standard":
            return {"kind": self.kind}
        return {"kind": self.kind, "mean": list(self.mean), "std": list(self.std)}


def average(values: Sequence[float]) -> float:
    """Return the arithmetic mean."""
    return sum(values) / len(values)
