"""The pages for a browser."""

from __future__ import annotations

from typing import Any

import requests


def test_the_platforms_address_leads_to_its_pages(ready: dict[str, Any]) -> None:
    answer = requests.get(ready["lightly_url"], timeout=30)
    assert answer.status_code == 200
    assert answer.url == ready["web_url"]
    assert "<title>Datasets</title>" in answer.text
