"""The report of a run as a PDF (REPORT_PDF): the input, the selection, and its quality.

The real report is described in docs.lightly.ai, "Report" and "Report - Embedding Analysis": numbers of files,
examples, the distributions of the selected and of all images, scatter plots, and the distances to the
nearest neighbour compared with those in a random subset. The layout is the sandbox's own.

Needs matplotlib, which is large: import it where a report is drawn only.
"""

from __future__ import annotations

import io
import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages

from lightly_sandbox.worker.report.contents import MAX_COMPARED, nearest_removed, rows_of_sets
from lightly_sandbox.worker.report.distances import nearest_in_set, projected
from lightly_sandbox.worker.report.plots import (
    FAINT,
    INK,
    LEFT,
    RIGHT,
    SET_COLOURS,
    SET_NAMES,
    STYLE,
    TOP,
    Picture,
    compared_bars,
    gallery,
    histograms,
    legend,
    page,
    rule,
    scatter,
    stacked_bar,
    table,
    tiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from PIL import Image

    from lightly_sandbox.worker.report.contents import Findings, RunFacts

_THUMBNAIL_SIDE = 200
_MAX_PICTURES = 40
_LISTED_FILES = 60
_NAME_LENGTH = 26
_METADATA = {
    "lightly.sharpness": ("Sharpness", "deviation of the Laplacian", 1.0),
    "lightly.luminance": ("Luminance", "per cent of white", 1.0),
    "lightly.snr": ("Signal to noise", "mean brightness over its deviation", 1.0),
    "lightly.sizeInBytes": ("File size", "kB", 1e-3),
    "lightly.uniformRowRatio": ("Uniform rows", "share of the rows", 1.0),
}


def draw_report(facts: RunFacts, findings: Findings) -> bytes:
    """Draw the report.

    Args:
        facts: which run this is.
        findings: what it found; at most some sixty of its images are opened.

    Returns:
        The file's content.
    """
    content = io.BytesIO()
    title = f"Worker report: {facts.dataset_name}"
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        # The font has no glyphs for some scripts. A box in a file's name is no reason to fill the log.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with PdfPages(content, metadata={"Title": title, "Creator": facts.worker_version}) as pdf:
            for drawn in _pages(facts, findings):
                pdf.savefig(drawn)
    return content.getvalue()


def _pages(facts: RunFacts, findings: Findings) -> Iterator[Figure]:
    sets = rows_of_sets(findings.images, findings.selected)
    nearest = (
        {name: nearest_in_set(findings.images.embeddings[rows]) for name, rows in sets.items()}
        if len(findings.images.names) <= MAX_COMPARED
        else {}
    )
    footer = f"run {facts.run_id} · {facts.worker_version}, the worker of a sandbox and not Lightly's own"
    number = 0

    def begin(title: str) -> Figure:
        nonlocal number
        number += 1
        return page(title, number, footer)

    yield _summary(begin("Worker report"), facts, findings, nearest)
    yield _properties(begin("Properties of the images"), findings, sets)
    yield _embeddings(begin("Embeddings"), findings, sets, nearest)
    pairs = nearest_removed(findings.images, findings.selected)
    shown = {*findings.selected[:_MAX_PICTURES], *(row for pair in pairs for row in pair[:2])}
    # Shrink each image before opening the next one: together the full ones may not fit into memory.
    small = {row: _small(image) for row, image in findings.open_images(shown)}
    if findings.selected:
        yield _selected(begin("Selected images"), findings, small)
    if pairs:
        yield _pairs(begin("Selected, and left out for it"), findings, small, pairs)
    if corrupt := {**findings.corrupt_videos, **findings.corrupt}:
        yield _corrupt(begin("Left out as corrupt"), corrupt)


def _summary(
    figure: Figure, facts: RunFacts, findings: Findings, nearest: Mapping[str, NDArray[np.float64]]
) -> Figure:
    n_new = len(findings.images.names) - findings.images.n_datapool
    n_selected, n_corrupt = len(findings.selected), len(findings.corrupt)
    figure.text(LEFT, 0.895, _printable(facts.dataset_name), size=12)
    tiles(
        figure,
        0.83,
        {
            "input": (n_new + n_corrupt, INK),
            "corrupt": (n_corrupt, SET_COLOURS["corrupt"] if n_corrupt else FAINT),
            "duplicates": (findings.n_duplicates, INK if findings.n_duplicates else FAINT),
            "left out": (n_new - n_selected, INK),
            "selected": (n_selected, SET_COLOURS["selected"]),
            "datapool before": (findings.images.n_datapool, SET_COLOURS["preselectedDatapool"]),
        },
    )
    stacked_bar(
        figure.add_axes((LEFT, 0.75, RIGHT - LEFT, 0.035)),
        {
            "selected": (n_selected, SET_COLOURS["selected"]),
            "left out": (n_new - n_selected, SET_COLOURS["input"]),
            "corrupt": (n_corrupt, SET_COLOURS["corrupt"]),
        },
    )
    began = datetime.fromtimestamp(facts.started, UTC)
    lines = [
        ("Dataset", facts.dataset_id),
        ("Run", facts.run_id),
        ("Worker", facts.worker_version),
        ("Started", f"{began:%Y-%m-%d %H:%M:%S} UTC"),
        ("Took until here", f"{facts.ended - facts.started:.1f} s"),
    ]
    y = _facts(figure, 0.67, "Run", lines)
    y = _facts(figure, y - 0.03, "Selection", _selection_lines(findings.selection))
    means = {name: float(numbers.mean()) for name, numbers in nearest.items() if len(numbers)}
    if means:
        figure.text(
            LEFT, y - 0.03, "Diversity: mean distance to the nearest neighbour", size=11, weight="bold"
        )
        rule(figure, y - 0.039)
        height = 0.025 * len(means)
        compared_bars(figure.add_axes((LEFT + 0.22, y - 0.05 - height, 0.5, height)), means)
    return figure


def _facts(figure: Figure, y: float, title: str, lines: Sequence[tuple[str, str]]) -> float:
    """Write names and values below a title, and return where they end."""
    figure.text(LEFT, y, title, size=11, weight="bold")
    rule(figure, y - 0.009)
    for name, value in lines:
        y -= 0.021
        figure.text(LEFT, y - 0.008, name, color=FAINT)
        figure.text(LEFT + 0.22, y - 0.008, _printable(value))
    return y - 0.02


def _selection_lines(selection: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [
        (name, f"{selection[name]:g}")
        for name in ("nSamples", "proportionSamples")
        if selection.get(name) is not None
    ]
    for place, entry in enumerate(selection.get("strategies", ()), 1):
        source, strategy = dict(entry["input"]), dict(entry["strategy"])
        kinds = f"{strategy.pop('type')} of {source.pop('type')}"
        settings = ", ".join(f"{name} {value}" for name, value in {**source, **strategy}.items())
        lines.append((f"Strategy {place}", kinds + (f" ({settings})" if settings else "")))
    return [(name, _cut(line, 90)) for name, line in lines]


def _properties(figure: Figure, findings: Findings, sets: Mapping[str, NDArray[np.intp]]) -> Figure:
    shown = [name for name in ("input", "selected", "preselectedDatapool") if name in sets]
    grid = figure.add_gridspec(3, 2, left=0.12, right=RIGHT, top=0.87, bottom=0.09, hspace=0.42, wspace=0.28)
    measurements = findings.images.measurements
    for place, (key, (title, unit, scale)) in enumerate(_METADATA.items()):
        values = np.array([measurement.number(key) * scale for measurement in measurements])
        axes = figure.add_subplot(grid[place // 2, place % 2])
        histograms(axes, title, unit, {name: values[sets[name]] for name in shown})
        if place == 0:
            legend(axes, "lower left", (0, 1.12))
    axes = figure.add_subplot(grid[2, 1])
    axes.set_title("Width and height")
    axes.set_xlabel("pixels wide")
    axes.set_ylabel("pixels high")
    shapes = np.array([measurement.shape[:2] for measurement in measurements]).reshape(-1, 2)
    for name in shown:
        axes.scatter(shapes[sets[name], 1], shapes[sets[name], 0], s=20, color=SET_COLOURS[name])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    return figure


def _embeddings(
    figure: Figure,
    findings: Findings,
    sets: Mapping[str, NDArray[np.intp]],
    nearest: Mapping[str, NDArray[np.float64]],
) -> Figure:
    axes = figure.add_axes((LEFT + 0.02, 0.47, RIGHT - LEFT - 0.02, 0.41))
    axes.set_title("All images in two dimensions (PCA)", pad=22)
    shown = [name for name in ("input", "preselectedDatapool", "selected") if name in sets]
    scatter(axes, projected(findings.images.embeddings), {name: sets[name] for name in shown})
    legend(axes, "lower left", (0, 1.0))

    axes = figure.add_axes((LEFT + 0.05, 0.24, RIGHT - LEFT - 0.05, 0.15))
    compared = {name: nearest[name] for name in ("input", "random", "selected") if name in nearest}
    histograms(axes, "Distance to the nearest neighbour in the same set", "", compared)
    legend(axes, "upper right", (1, 1), columns=1)
    rows = [
        [SET_NAMES[name], f"{len(sets[name]):,}", *(f"{of(numbers):.3f}" for of in (np.min, np.mean, np.max))]
        for name, numbers in nearest.items()
        if len(numbers)
    ]
    if rows:
        height = 0.022 * (len(rows) + 1)
        axes = figure.add_axes((LEFT, 0.19 - height, RIGHT - LEFT, height))
        table(axes, ["", "images", "smallest", "mean", "largest"], rows)
    else:
        why = f"more than {MAX_COMPARED:,} images are not compared" if not nearest else "it takes two images"
        figure.text(LEFT, 0.16, f"No distances: {why}.", color=FAINT)
    return figure


def _selected(figure: Figure, findings: Findings, small: Mapping[int, Image.Image]) -> Figure:
    pictures = [
        Picture(small[row], _cut(findings.images.names[row])) for row in findings.selected[:_MAX_PICTURES]
    ]
    n_shown, n_selected = gallery(figure, pictures, columns=5), len(findings.selected)
    shown = "" if n_shown == n_selected else f"The first {n_shown} of {n_selected:,}, in"
    figure.text(LEFT, TOP, f"{shown or 'In'} the order in which they were taken.", color=FAINT)
    return figure


def _pairs(
    figure: Figure,
    findings: Findings,
    small: Mapping[int, Image.Image],
    pairs: Sequence[tuple[int, int, float]],
) -> Figure:
    caption = "To the right of each selected image: the nearest one that was left out, and its distance."
    figure.text(LEFT, TOP, caption, color=FAINT)
    names, pictures = findings.images.names, []
    for selected, removed, distance in pairs:
        pictures += [
            Picture(small[selected], f"{_cut(names[selected])}\nselected", SET_COLOURS["selected"]),
            Picture(small[removed], f"{_cut(names[removed])}\n{distance:.3f} away"),
        ]
    gallery(figure, pictures, columns=4, caption_lines=2)
    return figure


def _corrupt(figure: Figure, corrupt: Mapping[str, str]) -> Figure:
    figure.text(
        LEFT, TOP, f"{len(corrupt):,} of them; corruptness_check_information.json has each.", color=FAINT
    )
    y = 0.89
    for name, reason in list(corrupt.items())[:_LISTED_FILES]:
        figure.text(LEFT, y, _cut(name, 44), size=7)
        figure.text(LEFT + 0.36, y, _cut(reason, 84), size=7, color=FAINT)
        y -= 0.0137
    if len(corrupt) > _LISTED_FILES:
        figure.text(LEFT, y, f"and {len(corrupt) - _LISTED_FILES:,} more", size=7, color=FAINT)
    return figure


def _small(image: Image.Image) -> Image.Image:
    image = image.convert("RGB")
    image.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    return image


def _cut(text: str, length: int = _NAME_LENGTH) -> str:
    """Shorten a long text in the middle: the ends of a path are the most informative."""
    text = _printable(text)
    if len(text) <= length:
        return text
    end = (length - 1) * 2 // 3
    return f"{text[: length - 1 - end]}…{text[-end:]}"


def _printable(text: str) -> str:
    # An object's key may contain line breaks and other control characters.
    return "".join(character if character.isprintable() else "·" for character in text)
