"""The formats of an export: what each needs of the samples, and how it writes them."""

from __future__ import annotations

FORMATS = ("filenames", "uris", "manifest", "parquet", "label-studio", "labelbox", "sama", "read-urls")
# Lists of names, which XCom can take.
NAME_FORMATS = ("filenames", "uris")
