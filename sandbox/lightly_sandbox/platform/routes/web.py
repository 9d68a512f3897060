"""Read-only pages of datasets and runs; without a token, since they show no secrets and only this machine."""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import select

from lightly_sandbox.platform import lookups
from lightly_sandbox.platform.read_urls import redirected_url
from lightly_sandbox.platform.requests import Config, Db
from lightly_sandbox.platform.sample_files import file_of
from lightly_sandbox.platform.tables import Dataset, Run, RunLog, Sample, Tag
from lightly_sandbox.platform.tag_data import positions

router = APIRouter(prefix="/web")
root_router = APIRouter()

SHOWN_IMAGES = 200
SHOWN_LINES = 500

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .6rem; }
.images img { width: 100%; aspect-ratio: 4/3; object-fit: cover; border-radius: 4px; background: #8882; }
figure { margin: 0; } figcaption { font-size: .8rem; overflow-wrap: anywhere; } code { font-size: .85em; }
"""


def _page(title: str, *parts: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style>"
        '<nav><a href="/web">Datasets</a> · <a href="/web/compute/runs">Runs</a></nav>'
        f"<h1>{escape(title)}</h1>{''.join(parts)}</html>"
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{escape(name)}" for name in heads)
    return (
        f"<table><tr>{head}{''.join('<tr>' + ''.join(f'<td>{cell}' for cell in row) for row in rows)}</table>"
    )


def _time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(milliseconds / 1000))


def _link(path: str, text: str) -> str:
    return f'<a href="/web/{escape(path)}">{escape(text)}</a>'


def _runs(runs: Iterable[Run]) -> str:
    return _table(
        ("Run", "State", "Message", "Began"),
        (
            (
                _link(f"compute/runs/{run.id}", run.id),
                escape(run.state),
                escape(run.message or ""),
                _time(run.created_at),
            )
            for run in runs
        ),
    )


def _image(url: str, file_name: str) -> str:
    return (
        f'<figure><img loading="lazy" alt="" src="{escape(url)}">'
        f"<figcaption>{escape(file_name)}</figcaption></figure>"
    )


@root_router.get("/")
async def root() -> RedirectResponse:
    """The address that `up` prints leads a browser to the pages."""
    return RedirectResponse("/web")


@router.get("")
def datasets(db: Db, config: Config) -> HTMLResponse:
    """Every dataset."""
    query = select(Dataset).where(Dataset.user_id == config.user_id).order_by(Dataset.created_at.desc())
    rows = (
        (_link(f"dataset/{dataset.id}", dataset.name), escape(dataset.type), _time(dataset.last_modified_at))
        for dataset in db.scalars(query)
    )
    return _page("Datasets", _table(("Name", "Type", "Changed"), rows))


@router.get("/dataset/{dataset_id}")
def dataset(dataset_id: str, db: Db, config: Config) -> HTMLResponse:
    """One dataset: where its files are, its runs, its tags and the images in it."""
    found = lookups.dataset(db, dataset_id, config.user_id)
    sources = (
        (
            escape(source.purpose),
            escape(source.config["type"]),
            f"<code>{escape(source.config['fullPath'])}</code>",
        )
        for source in found.datasources
    )
    runs = db.scalars(select(Run).where(Run.dataset_id == dataset_id).order_by(Run.created_at.desc()))
    tags = db.scalars(select(Tag).where(Tag.dataset_id == dataset_id).order_by(Tag.created_at))
    samples = db.scalars(
        select(Sample).where(Sample.dataset_id == dataset_id).order_by(Sample.position).limit(SHOWN_IMAGES)
    )
    images = (
        _image(redirected_url(config, dataset_id, file_of(sample)), sample.file_name) for sample in samples
    )
    counted = ((escape(tag.name), str(len(positions(tag.bit_mask))), _time(tag.created_at)) for tag in tags)
    return _page(
        found.name,
        f"<p>{lookups.sample_count(db, dataset_id)} samples, {escape(found.type)}, <code>{dataset_id}</code>",
        "<h2>Datasources</h2>",
        _table(("Purpose", "Type", "Path"), sources),
        "<h2>Runs</h2>",
        _runs(runs),
        "<h2>Tags</h2>",
        _table(("Name", "Samples", "Made"), counted),
        "<h2>Samples</h2>",
        f'<div class="images">{"".join(images)}</div>',
    )


@router.get("/compute/runs")
def runs(db: Db, config: Config) -> HTMLResponse:
    """Every run, newest first."""
    return _page(
        "Runs",
        _runs(db.scalars(select(Run).where(Run.user_id == config.user_id).order_by(Run.created_at.desc()))),
    )


@router.get("/compute/runs/{run_id}")
def run(run_id: str, db: Db, config: Config) -> HTMLResponse:
    """One run with its log."""
    found = lookups.run(db, run_id, config.user_id)
    lines = db.scalars(
        select(RunLog).where(RunLog.run_id == run_id).order_by(RunLog.number.desc()).limit(SHOWN_LINES)
    ).all()
    log = (
        (
            _time(line.entry["ts"]),
            escape(line.entry["level"]),
            escape(line.entry["state"]),
            escape(line.entry["msg"]),
        )
        for line in reversed(lines)
    )
    of = (
        "" if found.dataset_id is None else f"<p>On {_link(f'dataset/{found.dataset_id}', 'its dataset')}</p>"
    )
    return _page(
        f"Run {run_id}", _runs([found]), of, "<h2>Log</h2>", _table(("Time", "Level", "State", "Line"), log)
    )
