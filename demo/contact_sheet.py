"""Draws the selected images beside the ones left out. Runs in the sandbox's environment, which has Pillow and boto3.

python contact_sheet.py --ready-file FILE --bucket BUCKET --prefix PREFIX --selected NAMES.json --output SHEET.png
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path
from typing import Any

import boto3  # noqa: TID253 - not part of a DAG
from PIL import Image, ImageDraw, ImageFont, ImageOps

TILE = (132, 99)
GAP = 6
HEADER = 46
COLUMNS = {"selected": 4, "left out": 11}
COLOURS = {"selected": "#1f8f4e", "left out": "#9aa0a6"}


def main() -> None:
    """Read the photos from S3, and draw."""
    parser = argparse.ArgumentParser()
    for name in ("ready-file", "bucket", "prefix", "selected", "output"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args()
    place = json.loads(Path(arguments.ready_file).read_text())
    s3 = boto3.client(
        "s3",
        endpoint_url=place["aws_url"],
        region_name=place["region"],
        aws_access_key_id=place["aws_access_key_id"],
        aws_secret_access_key=place["aws_secret_access_key"],
    )
    selected = set(json.loads(Path(arguments.selected).read_text()))
    photos = read_photos(s3, arguments.bucket, arguments.prefix)
    groups = {
        "selected": [tile for name, tile in photos if name in selected],
        "left out": [tile for name, tile in photos if name not in selected],
    }
    draw(groups).save(arguments.output)


def read_photos(s3: Any, bucket: str, prefix: str) -> list[tuple[str, Image.Image]]:
    """All photos under the prefix as (name, tile), in the order of their names."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    return [(key.removeprefix(prefix), _tile(s3.get_object(Bucket=bucket, Key=key)["Body"].read())) for key in keys]


def draw(groups: dict[str, list[Image.Image]]) -> Image.Image:
    """A panel per group, side by side, each under its title."""
    widths = {title: COLUMNS[title] * (TILE[0] + GAP) + GAP for title in groups}
    rows = max(-(-len(tiles) // COLUMNS[title]) for title, tiles in groups.items())
    sheet = Image.new("RGB", (sum(widths.values()) + GAP, HEADER + rows * (TILE[1] + GAP) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=20)
    left = 0
    for title, tiles in groups.items():
        pen.text((left + GAP, 12), f"{len(tiles)} {title}", fill=COLOURS[title], font=font)
        for position, tile in enumerate(tiles):
            row, column = divmod(position, COLUMNS[title])
            x, y = left + GAP + column * (TILE[0] + GAP), HEADER + row * (TILE[1] + GAP)
            sheet.paste(tile, (x, y))
            pen.rectangle((x - 2, y - 2, x + TILE[0] + 1, y + TILE[1] + 1), outline=COLOURS[title], width=2)
        left += widths[title] + GAP
    return sheet


def _tile(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (TILE[0] * 2, TILE[1] * 2))
    return ImageOps.fit(image.convert("RGB"), TILE)


if __name__ == "__main__":
    main()
