"""Charts as SVG files: horizontal bars on a logarithmic scale, each with its figure; curves in panels side by side."""

import math
from dataclasses import dataclass
from html import escape
from pathlib import Path

LABEL, WIDTH, ROW, TOP = 300, 460, 26, 60
OURS, THEIRS = "#1f6feb", "#9aa4b2"
PANEL_WIDTH, PANEL_HEIGHT, MARGIN, COLOURS = 420, 240, 60, ("#1f6feb", "#d9822b", "#2da44e", "#8250df")
# Of a curve, at most so many points are drawn.
POINTS_MAX = 500


@dataclass(frozen=True)
class Panel:
    """Curves by name over the same axis, whose unit is `over`."""

    over: str
    curves: dict[str, list[tuple[float, float]]]


def bars(path: Path, values: list[tuple[str, float]], title: str, ours: str) -> None:
    """Draws `values` by label, the smallest first; `ours` is the label of the bar that stands out."""
    if not values:
        return
    ranked = sorted(values, key=lambda pair: pair[1])
    low = 10 ** math.floor(math.log10(ranked[0][1]) - 0.3)
    decades = math.log10(ranked[-1][1] / low)
    place = lambda value: WIDTH * math.log10(value / low) / decades
    height = TOP + ROW * len(ranked) + 20
    marks = [low * 10**step for step in range(math.floor(decades) + 1)]
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LABEL + WIDTH + 110}" height="{height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)} (logarithmic; less is better)</text>',
    ]
    for mark in marks:
        x = LABEL + place(mark)
        drawn.append(f'<line x1="{x:.1f}" y1="{TOP - 8}" x2="{x:.1f}" y2="{height - 16}" stroke="#e3e6ea"/>')
        drawn.append(f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle" fill="#667">{mark:g}</text>')
    for index, (label, value) in enumerate(ranked):
        y = TOP + ROW * index
        drawn += [
            f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{LABEL}" y="{y + 2}" width="{place(value):.1f}" height="{ROW - 8}" fill="{OURS if label == ours else THEIRS}"/>',
            f'<text x="{LABEL + place(value) + 6:.1f}" y="{y + 15}">{value:,.0f}</text>',
        ]
    path.write_text("\n".join([*drawn, "</svg>", ""]))


def curves(path: Path, panels: list[Panel], title: str) -> None:
    """Draws panels side by side, all axes from zero."""
    if not panels:
        return
    width, height = (PANEL_WIDTH + MARGIN) * len(panels) + MARGIN, TOP + PANEL_HEIGHT + 50
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>',
    ]
    for index, panel in enumerate(panels):
        drawn += panel_lines(panel, MARGIN + (PANEL_WIDTH + MARGIN) * index)
    path.write_text("\n".join([*drawn, "</svg>", ""]))


def panel_lines(panel: Panel, left: float) -> list[str]:
    bottom, points = TOP + PANEL_HEIGHT, [point for curve in panel.curves.values() for point in curve]
    right, top = (max(point[axis] for point in points) or 1 for axis in (0, 1))
    x, y = lambda at: left + PANEL_WIDTH * at / right, lambda value: bottom - PANEL_HEIGHT * value / top
    drawn = []
    for step in range(5):
        at, value = right * step / 4, top * step / 4
        drawn += [
            f'<line x1="{left}" y1="{y(value):.1f}" x2="{left + PANEL_WIDTH}" y2="{y(value):.1f}" stroke="#e3e6ea"/>',
            f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#667">{value:.4g}</text>',
            f'<text x="{x(at):.1f}" y="{bottom + 18}" text-anchor="middle" fill="#667">{at:.4g}</text>',
        ]
    drawn.append(f'<text x="{left + PANEL_WIDTH / 2}" y="{bottom + 38}" text-anchor="middle">{escape(panel.over)}</text>')
    for index, (name, curve) in enumerate(panel.curves.items()):
        colour, kept = COLOURS[index % len(COLOURS)], curve[:: 1 + len(curve) // POINTS_MAX]
        line = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in kept)
        drawn += [
            f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.5"/>',
            f'<text x="{left + 110 * index}" y="{TOP - 14}" fill="{colour}">{escape(name)}</text>',
        ]
    return drawn
