"""The Pareto plot as a static SVG: what is seen without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bitjoule.report.markup import Html, escape
from bitjoule.report.palette import Style, marker_path
from bitjoule.report.ticks import linear_ticks, log_ticks
from bitjoule.report.units import energy_text

__all__ = ["Mark", "Series", "front_svg"]

WIDTH, HEIGHT = 860.0, 460.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 20.0, 16.0, 52.0


@dataclass(frozen=True)
class Mark:
    """A point: energy in pJ, accuracy as a fraction, its standard deviation over seeds, its text."""

    energy_pj: float
    accuracy: float
    sd: float | None
    label: str


@dataclass(frozen=True)
class Series:
    """A family: the points off its front, and its front joined by a line, energy ascending."""

    name: str
    style: Style
    others: tuple[Mark, ...]
    front: tuple[Mark, ...]


def front_svg(title: str, series: Sequence[Series]) -> Html:
    """Energy (logarithmic) against accuracy; colours of text and grid come from the page.

    Raises:
        ValueError: no point at all.
    """
    marks = [mark for one in series for mark in (*one.others, *one.front)]
    if not marks:
        raise ValueError(f"nothing to draw in {title!r}: no point has an energy and an accuracy")
    axes = _Axes.around(marks)
    parts = [axes.grid()]
    for one in series:
        parts += [axes.mark(mark, one.style, faint=True) for mark in one.others]
    for one in series:
        parts.append(axes.line(one))
        parts += [axes.mark(mark, one.style, faint=False) for mark in one.front]
    return Html(
        f'<svg class="front" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" '
        f'aria-label="{escape(title)}"><title>{escape(title)}</title>{"".join(parts)}</svg>'
    )


@dataclass(frozen=True)
class _Axes:
    """The range of the data (log10 pJ, fraction) and where it lies on the page."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float

    @classmethod
    def around(cls, marks: Sequence[Mark]) -> _Axes:
        x = [math.log10(mark.energy_pj) for mark in marks]
        y = [mark.accuracy + sign * (mark.sd or 0.0) for mark in marks for sign in (-1, 1)]
        pad_x = max(0.05, 0.05 * (max(x) - min(x)))
        pad_y = max(0.005, 0.06 * (max(y) - min(y)))
        return cls(min(x) - pad_x, max(x) + pad_x, min(y) - pad_y, max(y) + pad_y)

    def x(self, energy_pj: float) -> float:
        share = (math.log10(energy_pj) - self.low_x) / (self.high_x - self.low_x)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, accuracy: float) -> float:
        share = (accuracy - self.low_y) / (self.high_y - self.low_y)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def grid(self) -> str:
        parts = []
        for energy in log_ticks(10**self.low_x, 10**self.high_x):
            x = self.x(energy)
            parts.append(f'<path class="grid" d="M{x:.1f} {TOP:g}V{HEIGHT - BOTTOM:g}"/>')
            parts.append(_text(x, HEIGHT - BOTTOM + 20, energy_text(energy), "middle"))
        ticks = linear_ticks(100 * self.low_y, 100 * self.high_y, about=9)
        for percent in ticks:
            y = self.y(percent / 100)
            parts.append(f'<path class="grid" d="M{LEFT:g} {y:.1f}H{WIDTH - RIGHT:g}"/>')
            parts.append(_text(LEFT - 8, y + 4, f"{percent:g} %", "end"))
        middle = (LEFT + WIDTH - RIGHT) / 2
        parts.append(_text(middle, HEIGHT - 8, "energy of one inference (logarithmic)", "middle"))
        return "".join(parts)

    def line(self, series: Series) -> str:
        if len(series.front) < 2:
            return ""
        places = "L".join(f"{self.x(m.energy_pj):.1f} {self.y(m.accuracy):.1f}" for m in series.front)
        return f'<path d="M{places}" fill="none" stroke="{series.style.color}" stroke-width="2"/>'

    def mark(self, mark: Mark, style: Style, *, faint: bool) -> str:
        x, y = self.x(mark.energy_pj), self.y(mark.accuracy)
        bar = ""
        if mark.sd:
            top, bottom = self.y(mark.accuracy + mark.sd) - y, self.y(mark.accuracy - mark.sd) - y
            bar = f'<path d="M0 {top:.1f}V{bottom:.1f}" stroke="{style.color}"/>'
        path = marker_path(style.marker, 3.5 if faint else 5.0)
        look = 'opacity=".4"' if faint else 'stroke="currentColor" stroke-width=".8"'
        return (
            f'<g transform="translate({x:.1f} {y:.1f})"><title>{escape(mark.label)}</title>{bar}'
            f'<path d="{path}" fill="{style.color}" {look}/></g>'
        )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
