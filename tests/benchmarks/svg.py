"""Plots as SVG: grouped bars and lines, readable on light and dark pages, without a plotting library.

Decides looks only: one accent for modelcast, greys and muted colours for the others, units on every axis. Pure.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape, unescape

WIDTH, LEFT, RIGHT, TOP = 760, 190, 70, 58
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 } .small { font-size: 12px; fill: #57606a }
.grid { stroke: #d0d7de; stroke-width: 1 } .axis { stroke: #57606a; stroke-width: 1 }
.c0 { fill: #0969da; stroke: #0969da } .c1 { fill: #8c959f; stroke: #8c959f }
.c2 { fill: #1a7f37; stroke: #1a7f37 } .c3 { fill: #bf8700; stroke: #bf8700 }
.line { fill: none; stroke-width: 2.5 } .bar { stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .axis { stroke: #9198a1 }
  .c0 { fill: #4493f8; stroke: #4493f8 } .c1 { fill: #9198a1; stroke: #9198a1 }
  .c2 { fill: #3fb950; stroke: #3fb950 } .c3 { fill: #d29922; stroke: #d29922 }
}
"""


@dataclass(frozen=True)
class Bar:
    """A bar of a chart.

    Attributes:
        label: What it is.
        value: Its length.
        low: Lowest value of the rounds.
        high: Highest.
        colour: 0 for what the chart is about, 1 for the others, 2 for the limit.
    """

    label: str
    value: float
    low: float
    high: float
    colour: int = 1


@dataclass(frozen=True)
class Line:
    """A line of a chart: its label and its points."""

    label: str
    points: Sequence[tuple[float, float]]
    colour: int = 1


def nice_ticks(most: float) -> list[float]:
    """Return four to six round numbers from 0 to at least ``most``."""
    if most <= 0:
        return [0, 1]
    rough = most / 5
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough)
    return [step * number for number in range(math.ceil(most / step) + 1)]


def bar_chart(title: str, unit: str, groups: Sequence[tuple[str, Sequence[Bar]]]) -> str:
    """Return horizontal bars in groups one below the other, each group with a heading; whiskers show lowest and highest."""
    ticks = nice_ticks(max((bar.high for _, bars in groups for bar in bars), default=1))
    scale = (WIDTH - LEFT - RIGHT) / ticks[-1]
    parts, top = list[str](), float(TOP)
    for heading, bars in groups:
        parts.append(_text(LEFT, top + 14, heading, anchor="start", style="small"))
        top += 22
        for bar in bars:
            parts += _bar(bar, top, scale)
            top += 22
        top += 12
    grid = [part for tick in ticks for part in _tick(LEFT + tick * scale, top, tick)]
    name = _text((LEFT + WIDTH - RIGHT) / 2, top + 38, unit, anchor="middle", style="small")
    return _document(title, top + 52, [*grid, *parts, name])


def _bar(bar: Bar, top: float, scale: float) -> list[str]:
    middle, end = top + 9, LEFT + bar.value * scale
    low, high = LEFT + bar.low * scale, LEFT + bar.high * scale
    whisker = [] if bar.low == bar.high else [f'<path class="axis" d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"/>']
    return [
        _text(LEFT - 8, top + 14, bar.label, anchor="end"),
        f'<rect class="bar c{bar.colour}" x="{LEFT}" y="{top + 1}" width="{max(1, bar.value * scale):.1f}" height="17" rx="2"/>',
        *whisker, _text(max(end, high) + 6, top + 14, f"{bar.value:,.0f}", anchor="start"),
    ]


def _tick(x: float, bottom: float, value: float) -> list[str]:
    return [
        f'<path class="grid" d="M{x:.1f} {TOP - 6}V{bottom:.1f}"/>',
        _text(x, bottom + 18, f"{value:,g}", anchor="middle", style="small"),
    ]


def line_chart(title: str, across: str, unit: str, lines: Sequence[Line]) -> str:
    """Return lines over a logarithmic axis (each doubling takes the same room), a legend on top."""
    left, right, bottom, height = 70, 30, 330, 240
    xs = sorted({x for line in lines for x, _ in line.points})
    ticks = nice_ticks(max((y for line in lines for _, y in line.points), default=1))
    span = math.log2(xs[-1] / xs[0]) if len(xs) > 1 else 1

    def place(x: float, y: float) -> tuple[float, float]:
        return left + 20 + math.log2(x / xs[0]) / span * (WIDTH - left - right - 40), bottom - y / ticks[-1] * height

    parts = list[str]()
    for tick in ticks:
        y = place(xs[0], tick)[1]
        parts += [f'<path class="grid" d="M{left} {y:.1f}H{WIDTH - right}"/>', _text(left - 8, y + 4, f"{tick:,g}", anchor="end", style="small")]
    parts += [_text(place(x, 0)[0], bottom + 20, f"{x:,g}", anchor="middle", style="small") for x in xs]
    parts.append(_text((left + WIDTH - right) / 2, bottom + 42, across, anchor="middle", style="small"))
    parts.append(_text(left - 8, bottom - height - 14, unit, anchor="middle", style="small"))
    for number, line in enumerate(lines):
        points = [place(x, y) for x, y in line.points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        parts.append(f'<path class="line c{line.colour}" style="fill:none" d="{path}"/>')
        parts += [f'<circle class="c{line.colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points]
        x = left + 40 + number * 220
        parts += [f'<rect class="bar c{line.colour}" x="{x}" y="46" width="14" height="14" rx="2"/>', _text(x + 20, 58, line.label, anchor="start")]
    return _document(title, bottom + 56, parts)


def title_of(document: str) -> str:
    """Return the title of a plot that this module made."""
    return unescape(document.partition('aria-label="')[2].partition('"')[0])


def _text(x: float, y: float, text: str, *, anchor: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _document(title: str, height: float, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
    return "\n".join([head, f"<style>{STYLE}</style>", _text(20, 28, title, anchor="start", style="title"), *parts, "</svg>"]) + "\n"
