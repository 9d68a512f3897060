"""Draws the pages of the PDF report. Needs matplotlib: import it only where a report is drawn.

Nothing here uses pyplot, which keeps figures for a screen that a worker does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from PIL import Image

A4_INCHES = (8.27, 11.69)
LEFT, RIGHT, TOP = 0.08, 0.92, 0.91

INK, FAINT, RULE = "#1d2733", "#6b7785", "#d5dbe1"
SET_NAMES = {
    "input": "all new images",
    "random": "a random choice",
    "selected": "selected",
    "preselectedDatapool": "datapool",
    "selectedWithDatapool": "selected and datapool",
}
SET_COLOURS = {
    "input": "#aeb8c2",
    "random": "#d98b3a",
    "selected": "#0b7a75",
    "preselectedDatapool": "#6b5ca5",
    "selectedWithDatapool": "#31446b",
    "corrupt": "#b5382a",
}
STYLE: dict[Any, Any] = {
    # Glyphs as drawings: half of the time of TrueType fonts, and the text can be searched and copied as well.
    "pdf.fonttype": 3,
    "text.parse_math": False,
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": FAINT,
    "axes.titlecolor": INK,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
    "legend.fontsize": 8,
}

_BINS = 24
_Corner = Literal["upper left", "upper right", "lower left"]


def page(title: str, number: int, footer: str) -> Figure:
    """Begin a page."""
    figure = Figure(figsize=A4_INCHES)
    figure.text(LEFT, 0.945, title, size=15, weight="bold")
    rule(figure, 0.93)
    figure.text(LEFT, 0.035, footer, size=7, color=FAINT)
    figure.text(RIGHT, 0.035, str(number), size=7, color=FAINT, ha="right")
    return figure


def rule(figure: Figure, y: float) -> None:
    """Draw a line across the page."""
    # A line of its own: axes for it would take longer than all else of the page.
    figure.add_artist(Line2D((LEFT, RIGHT), (y, y), color=RULE, linewidth=1))


def tiles(figure: Figure, y: float, numbers: Mapping[str, tuple[int, str]]) -> None:
    """Draw large numbers with their names below: name to number and colour."""
    width = (RIGHT - LEFT) / len(numbers)
    for place, (name, (number, colour)) in enumerate(numbers.items()):
        x = LEFT + place * width
        figure.text(x, y, f"{number:,}", size=21, weight="bold", color=colour)
        figure.text(x, y - 0.018, name, size=8, color=FAINT)


def stacked_bar(axes: Axes, parts: Mapping[str, tuple[int, str]]) -> None:
    """Draw one bar of several parts: name to number and colour."""
    start = 0
    for name, (number, colour) in parts.items():
        if number:
            axes.barh(0, number, left=start, color=colour, height=0.6, label=f"{name} ({number:,})")
            start += number
    axes.set_axis_off()
    axes.set_xlim(0, max(start, 1))
    legend(axes, "upper left", (0, -0.05))


def histograms(axes: Axes, title: str, unit: str, values: Mapping[str, NDArray[Any]]) -> None:
    """Compare how numbers are distributed in several sets: each as shares of itself, with the same bins."""
    joined = np.concatenate([*values.values(), np.zeros(0)])
    axes.set_title(title)
    axes.set_xlabel(unit)
    axes.set_ylabel("share of the images")
    axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if not len(joined):
        empty(axes)
        return
    low, high = float(joined.min()), float(joined.max())
    if high <= low:
        # Numbers that are all the same would be one bar as wide as the picture.
        low, high = low - max(0.05, abs(low) / 10), high + max(0.05, abs(high) / 10)
    edges = np.linspace(low, high, _BINS + 1)
    for name, numbers in values.items():
        if len(numbers):
            shares = np.histogram(numbers, bins=edges)[0] / len(numbers)
            filled = name == "input"
            axes.stairs(
                shares,
                edges,
                fill=filled,
                color=SET_COLOURS[name],
                linewidth=0 if filled else 1.6,
                label=SET_NAMES[name],
            )


def compared_bars(axes: Axes, values: Mapping[str, float]) -> None:
    """Draw one bar for each set, with its value."""
    for place, (name, value) in enumerate(values.items()):
        axes.barh(place, value, color=SET_COLOURS[name], height=0.62)
        axes.text(value, place, f"  {value:.3f}", va="center")
    axes.set_yticks(range(len(values)), [SET_NAMES[name] for name in values])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.1)


def legend(axes: Axes, corner: _Corner, at: tuple[float, float], columns: int = 4) -> None:
    """Draw a legend, if anything has been drawn, with its ``corner`` ``at`` the position."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc=corner, bbox_to_anchor=at, ncols=columns, borderpad=0, handlelength=1, handletextpad=0.5
        )


def scatter(axes: Axes, places: NDArray[np.float64], sets: Mapping[str, NDArray[np.intp]]) -> None:
    """Draw a point for each image, each set over the ones before it."""
    sizes = {"input": 11.0, "preselectedDatapool": 16.0}
    for name, rows in sets.items():
        if len(rows):
            axes.scatter(
                places[rows, 0],
                places[rows, 1],
                s=sizes.get(name, 34.0),
                color=SET_COLOURS[name],
                alpha=0.75 if name == "input" else 1.0,
                edgecolors="white" if name == "selected" else "none",
                linewidths=0.6,
                label=f"{SET_NAMES[name]} ({len(rows):,})",
                # Thousands of vector circles make the file slow to view.
                rasterized=len(rows) > 500,
            )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("first principal component")
    axes.set_ylabel("second principal component")
    if not len(places):
        empty(axes)


def table(axes: Axes, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Draw a table: the first column to the left, the others to the right."""
    axes.set_axis_off()
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) + 1, 0)
    columns = [0.0, *np.linspace(0.5, 1.0, len(head) - 1)]
    for line, cells in enumerate([head, *rows]):
        for place, (x, cell) in enumerate(zip(columns, cells, strict=True)):
            axes.text(
                x,
                line + 0.5,
                cell,
                ha="left" if place == 0 else "right",
                va="center",
                color=FAINT if line == 0 else INK,
            )
        axes.axhline(line + 1, color=RULE, linewidth=0.8)


@dataclass(frozen=True)
class Picture:
    """An image and what is written below it."""

    image: Image.Image
    caption: str
    frame: str = RULE


def gallery(figure: Figure, pictures: Sequence[Picture], columns: int, caption_lines: int = 1) -> int:
    """Lay out pictures in rows, each as high as its highest picture, as far as the page goes.

    Returns:
        How many there was room for.
    """
    # One pair of axes for all, in inches: a pair for each would take half of the whole report's time.
    width, height = A4_INCHES
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    pitch = (RIGHT - LEFT) * width / columns
    side, top = 0.93 * pitch, 0.895 * height
    for start in range(0, len(pictures), columns):
        row = pictures[start : start + columns]
        highest = max(side * min(1.0, each.image.height / each.image.width) for each in row)
        bottom = top - highest
        if bottom - 0.12 * caption_lines < 0.06 * height:
            pictures = pictures[:start]
            break
        for place, each in enumerate(row):
            scale = side / max(each.image.size)
            across, high = each.image.width * scale, each.image.height * scale
            left = LEFT * width + place * pitch + (side - across) / 2
            extent = (left, left + across, bottom, bottom + high)
            axes.imshow(np.asarray(each.image), extent=extent, aspect="auto", interpolation="none")
            frame = Rectangle((left, bottom), across, high, fill=False, edgecolor=each.frame, linewidth=1.2)
            axes.add_patch(frame)
            middle = LEFT * width + place * pitch + side / 2
            axes.text(middle, bottom - 0.05, each.caption, size=6, ha="center", va="top", linespacing=1.3)
        top = bottom - 0.13 * caption_lines - 0.12
    axes.set_xlim(0, width)
    axes.set_ylim(0, height)
    return len(pictures)


def empty(axes: Axes) -> None:
    """Draw a note that there is nothing to draw."""
    axes.text(0.5, 0.5, "nothing to show", color=FAINT, ha="center", va="center", transform=axes.transAxes)
