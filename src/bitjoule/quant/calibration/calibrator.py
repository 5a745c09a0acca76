"""Calibrators by name: what finds the range of a tensor, with its parameters, as a text."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal, Protocol, cast

from torch import Tensor

from bitjoule.formats import TensorFormat
from bitjoule.quant.calibration.aciq import Aciq, Prior
from bitjoule.quant.calibration.batch_norm import BatchNormRange
from bitjoule.quant.calibration.entropy import Entropy
from bitjoule.quant.calibration.minmax import MinMax, MovingAverage
from bitjoule.quant.calibration.mse import Mse
from bitjoule.quant.calibration.percentile import Percentile
from bitjoule.quant.calibration.reservoir import CAPACITY
from bitjoule.quant.calibration.scale_rule import CalibrationError
from bitjoule.quant.calibration.seen import Seen
from bitjoule.quant.fake_quantizer import QuantParams

__all__ = ["CALIBRATORS", "Calibrator", "CalibratorSpec", "parse_calibrator"]


class Calibrator(Protocol):
    """From the values of one tensor to its scale; the state does not grow with the data."""

    def update(self, x: Tensor) -> None:
        """Take in a batch, axis 0 counting images; CalibrationError for NaN or infinite values."""

    def range(self, tensor_format: TensorFormat) -> QuantParams:
        """Scale and zero-point of the Format; CalibrationError when nothing was seen."""


CALIBRATORS: dict[str, tuple[tuple[str, float | str], ...]] = {
    "minmax": (),
    "moving_average": (("m", 0.9),),
    "percentile": (("p", 99.99),),
    "mse": (("power", 2.4), ("steps", 80)),
    "entropy": (("bins", 2048),),
    "aciq": (("prior", "auto"),),
    "bn": (("k", 6),),
}
"""Parameters of every calibrator, in order, with their defaults."""


@dataclass(frozen=True)
class CalibratorSpec:
    """A calibrator's name and parameters; prints as `parse_calibrator` reads it.

    >>> str(parse_calibrator("mse( steps=40 )"))
    'mse(2.4, 40)'
    """

    name: str
    values: tuple[float | str, ...]

    def make(
        self,
        name: str,
        *,
        axis: int | None = None,
        capacity: int | None = CAPACITY,
        seed: int = 0,
        unit: str = "image",
    ) -> Calibrator:
        """A calibrator without data for the tensor called `name`.

        axis
            that of the channels when every channel has its own range, None for one range.
        capacity
            values that a reservoir may hold; None, for weights, keeps all.
        unit
            what axis 0 counts, for errors.
        """
        v, seen = self.values, Seen(name, axis, unit)
        match self.name:
            case "minmax":
                return MinMax(seen)
            case "moving_average":
                return MovingAverage(seen, float(v[0]))
            case "percentile":
                p: float | Literal["best"] = "best" if v[0] == "best" else float(v[0])
                return Percentile(seen, p, capacity=capacity, seed=seed)
            case "mse":
                return Mse(seen, float(v[0]), int(v[1]), capacity=capacity, seed=seed)
            case "entropy":
                return Entropy(seen, int(v[0]))
            case "aciq":
                return Aciq(seen, cast(Prior, v[0]), capacity=capacity, seed=seed)
            case _:
                return BatchNormRange(name, axis, float(v[0]))

    def __str__(self) -> str:
        shown = ", ".join(v if isinstance(v, str) else f"{v:g}" for v in self.values)
        return f"{self.name}({shown})" if shown else self.name


def parse_calibrator(text: str) -> CalibratorSpec:
    """The calibrator of `name` or `name(value, key=value)`; CalibrationError with the reason.

    >>> parse_calibrator("percentile('best')")
    CalibratorSpec(name='percentile', values=('best',))
    """
    if not isinstance(text, str):
        raise CalibrationError(f"a calibrator is a text such as 'mse(2.4)', not {type(text).__name__}")
    match = re.fullmatch(r"\s*([A-Za-z_]+)\s*(?:\((.*)\))?\s*", text)
    if not match:
        raise CalibrationError(f"a calibrator is a name with values such as 'mse(2.4)', not {text!r}")
    name = match[1].lower()
    if name not in CALIBRATORS:
        near = difflib.get_close_matches(name, CALIBRATORS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise CalibrationError(f"unknown calibrator {name!r}, {hint}There are: {', '.join(CALIBRATORS)}")
    parameters = CALIBRATORS[name]
    values = dict(parameters)
    given = [part.strip() for part in (match[2] or "").split(",") if part.strip()]
    for place, part in enumerate(given):
        key, equals, value = (s.strip() for s in part.partition("="))
        if not equals:
            if place >= len(parameters):
                raise CalibrationError(
                    f"{text!r}: {name} takes {len(parameters)} values, "
                    f"{', '.join(values) or 'none at all'}; not {len(given)}"
                )
            key, value = parameters[place][0], key
        if key not in values:
            raise CalibrationError(
                f"{text!r}: {name} has no {key!r}, only {', '.join(values) or 'no values'}"
            )
        values[key] = _value(text, key, value.strip("'\""))
    return CalibratorSpec(name, tuple(values.values()))


_RANGES: dict[str, tuple[float, float, str]] = {
    "m": (0, 0.999999, "0 <= m < 1"),
    "p": (50.000001, 100, "50 < p <= 100, or best"),
    "power": (0.1, 16, "0.1 .. 16"),
    "steps": (1, 99, "a whole number, 1 .. 99"),
    "bins": (16, 1 << 16, "an even whole number, 16 .. 65536"),
    "k": (0.1, 100, "0.1 .. 100"),
}


def _value(text: str, key: str, value: str) -> float | str:
    if key == "prior":
        if value not in ("auto", "laplace", "gauss"):
            raise CalibrationError(f"{text!r}: prior must be auto, laplace or gauss, not {value!r}")
        return value
    if key == "p" and value == "best":
        return value
    low, high, said = _RANGES[key]
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    whole = key not in ("steps", "bins") or number == int(number if number == number else 0)
    if not low <= number <= high or not whole or (key == "bins" and number % 2):
        raise CalibrationError(f"{text!r}: {key} must be {said}; not {value!r}")
    return int(number) if key in ("steps", "bins") else number
