"""Types of the values in a hardware description, for all kinds: strict numbers, closed keys, sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

__all__ = [
    "LARGEST_COUNT",
    "Closed",
    "Count",
    "DefaultSource",
    "Name",
    "NaturalNumber",
    "NotNegative",
    "Positive",
    "Provenance",
    "Share",
    "SizeBits",
    "Status",
    "Technology",
]

LARGEST_COUNT = 2**62
"""Counting is exact up to here."""

Status = Literal["published", "measured", "derived", "assumed"]


class Closed(BaseModel):
    """A mapping whose keys are all known: no booleans as numbers, no numbers in quotes, no NaN."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _size(value: object) -> object:
    """A size in bits, or `unbounded`."""
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= LARGEST_COUNT
    if not whole and value != "unbounded":
        raise PydanticCustomError("must", "must be a whole number of bits > 0, or unbounded")
    return value


def _share(value: float) -> float:
    if not 0 < value < 1:
        raise PydanticCustomError("must", "must be > 0 and < 1")
    return value


@dataclass(frozen=True)
class DefaultSource:
    """Where the default of a key comes from, when a file leaves the key out."""

    status: Status
    cite: str


SizeBits = Annotated[int | Literal["unbounded"], BeforeValidator(_size)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(gt=0, le=LARGEST_COUNT)]
NaturalNumber = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Share = Annotated[float, AfterValidator(_share)]
Name = Annotated[str, Field(min_length=1)]


class Provenance(Closed):
    """Where numbers come from: `status` says how sure, `cite` where to look."""

    status: Status
    cite: Name


class Technology(Closed):
    """Silicon node, supply voltage, clock."""

    node_nm: Positive
    vdd_v: Positive
    freq_mhz: Positive
