"""A bar chart as an SVG file: horizontal bars on a logarithmic scale, each with its figure."""

import math
from html import escape
from pathlib import Path

LABEL, WIDTH, ROW, TOP = 300, 460, 26, 60
OURS, THEIRS = "#1f6feb", "#9aa4b2"


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
