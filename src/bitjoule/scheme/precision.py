"""What one layer works with: a token for its weights and one for the activation it reads."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bitjoule.formats import TensorFormat, parse_tensor_format

__all__ = ["Precision", "signed_twin"]


@dataclass(frozen=True)
class Precision:
    """What one layer works with: its weights, and the activation it reads.

    A token is a number of bits (`"4"`) or the name of a Format (`"TERNARY"`); for weights also with a scale
    per so many consecutive weights of a channel (`"4/group128"`).
    """

    weight: str
    activation: str

    def __str__(self) -> str:
        return f"w{self.weight}a{self.activation}"

    def weight_format(self) -> TensorFormat:
        """Format of the weights: symmetric, one scale per output channel (formats.md section 3), or per group
        where the token says so.
        """
        name, grouped, size = self.weight.partition("/")
        if name.isdigit():
            bits = int(name)
            name = "BIPOLAR" if bits == 1 else f"INT{bits}_NARROW"
            return parse_tensor_format(f"{name}/{size}" if grouped else f"{name}/channel")
        if grouped:
            return parse_tensor_format(self.weight)
        return parse_tensor_format(self.weight if _scale_free(self.weight) else f"{self.weight}/channel")

    def activation_format(self, *, signed: bool) -> TensorFormat:
        """Format of an activation, by the sign of what it can hold; one scale per tensor.

        One bit is the sign (BIPOLAR), or 0 and 1 where values cannot be negative (UINT1). The token of a
        family with signed and unsigned Formats means the pair of that width: UAPOT4 where values cannot be
        negative, APOT4 where they can.
        """
        token = self.activation
        if token.isdigit():
            bits = int(token)
            if signed:
                return parse_tensor_format("BIPOLAR" if bits == 1 else f"INT{bits}")
            return parse_tensor_format(f"UINT{bits}")
        if re.fullmatch(r"MOONS[0-9]+", token) and token != "MOONS1" and not signed:
            return parse_tensor_format(f"{token}_RELU")
        return parse_tensor_format(signed_twin(token) if signed else token)

    @property
    def activation_bits(self) -> int:
        """Storage bits of an activation."""
        return self.activation_format(signed=True).format.bits

    @property
    def weight_bits(self) -> int:
        """Storage bits of a weight."""
        return self.weight_format().format.bits

    @property
    def is_float(self) -> bool:
        """True when both are floating point."""
        return all(_is_float(token) for token in (self.weight.partition("/")[0], self.activation))


def signed_twin(name: str) -> str:
    """The Format of the same width that also holds negative values; a signed one is its own.

    >>> signed_twin("UAPOT4"), signed_twin("UPOT3_LOG"), signed_twin("MOONS4_RELU"), signed_twin("POT4")
    ('APOT4', 'POT3_LOG', 'MOONS4', 'POT4')
    """
    return name.removeprefix("U").removesuffix("_RELU")


def _is_float(token: str) -> bool:
    return not token.isdigit() and parse_tensor_format(token).format.kind == "float"


def _scale_free(token: str) -> bool:
    """Formats whose scale is part of their definition: floats, blocks with a scale of their own, MOONS."""
    if token.isdigit():
        return False
    format_ = parse_tensor_format(token).format
    return format_.kind in ("float", "block") or format_.fixed_scale is not None
