"""The pages for a browser, as a browser asks for them."""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import requests
from PIL import Image

from lightly_sandbox.seeding.photos import frames
from lightly_sandbox.worker.embedding import describe
from lightly_sandbox.worker.measurement import measure
from lightly_sandbox.worker.report.contents import Analysed, RunFacts, build_report
from lightly_sandbox.worker.report.delivery import corruptness_check, relevant_filenames
from tests.lab.sandbox import DELETE, LIST, READ, WRITE, allow, with_keys, with_role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.sandbox import Api, Customer

N_PHOTOS, SELECTED = 14, [0, 5, 9]
HOSTILE = [
    "<script>alert(1)</script>.jpg",
    'a" onerror="alert(1).jpg',
    "gpj.\u202eexe",
    "two\nlines.jpg",
    "{{ 7*7 }}.jpg",
]


@dataclass
class Browser:
    """Asks for pages as a browser does that was led there from a page of the sandbox."""

    url: str

    def get(self, path: str, **headers: str) -> requests.Response:
        return self._send("GET", path, **headers)

    def post(self, path: str, fields: dict[str, str], **headers: str) -> requests.Response:
        return self._send("POST", path, data=fields, **{"Origin": self.url, **headers})

    def _send(self, method: str, path: str, data: Any = None, **headers: str) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, self.url + path, data=data, headers=headers, allow_redirects=False, timeout=30
            )

    def page(self, path: str) -> str:
        """A page that is there."""
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        return answer.text


@pytest.fixture(scope="module")
def browser(ready: dict[str, Any]) -> Browser:
    return Browser(ready["lightly_url"])


@dataclass
class Finished:
    """A dataset with a run that has completed, and the names of what it considered."""

    dataset_id: str
    run_id: str
    tag_id: str
    names: list[str]
    secret: str

    @property
    def tag(self) -> str:
        return f"/web/dataset/{self.dataset_id}/tag/{self.tag_id}"


@pytest.fixture(scope="module")
def finished(api: Api, customer: Customer) -> Finished:
    """The test does what the worker does, with the worker's own report."""
    photos = sorted(frames(N_PHOTOS))
    bucket = customer.bucket()
    for name, content in photos:
        customer.s3.put_object(Bucket=bucket, Key=f"in/{name}", Body=content)
    dataset_id = api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ, WRITE, DELETE))
    for purpose, folder in (("INPUT", "in"), ("LIGHTLY", "out")):
        api.put_datasource(
            dataset_id, **with_keys(f"s3://{bucket}/{folder}", purpose, keys), thumbSuffix="t/[filename].jpg"
        )
    run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "3", "datasetId": dataset_id})["id"]
    line = {"ts": 1, "level": "WARNING", "group": "g", "msg": "a line <b>of the log</b>"}
    api.ok("PUT", f"/v1/docker/runs/{run_id}/logs", [line])
    for row in SELECTED:
        api.ok("POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": photos[row][0]})
    tag = {"imgType": "full", "runId": run_id}
    tag_id = api.ok("POST", f"/v1/datasets/{dataset_id}/tags/initial", tag)["id"]

    images = [Image.open(io.BytesIO(content)) for _, content in photos]
    analysed = Analysed(
        names=[name for name, _ in photos],
        measurements=[measure(image, 1) for image in images],
        embeddings=np.stack([describe(image) for image in images]),
        n_datapool=0,
    )
    report = build_report(RunFacts(run_id, dataset_id, "photos", "3", 1.0, 2.0), analysed, SELECTED, 0, 0)
    for kind, name, content in (
        ("REPORT_V2_JSON", "report_v2.json", json.dumps(report).encode()),
        ("RELEVANT_FILENAMES", "relevant_filenames.txt", relevant_filenames(analysed.names)),
        ("CORRUPTNESS_CHECK_INFORMATION", "corruptness.json", corruptness_check({}, {})),
    ):
        path = f"/v1/docker/runs/{run_id}/artifacts"
        made = api.ok("POST", path, {"fileName": name, "type": kind})
        assert requests.put(made["signedWriteUrl"], data=content, timeout=30).ok
        api.ok("PUT", f"{path}/{made['artifactId']}/confirmUpload")
    api.ok("PUT", f"/v1/docker/runs/{run_id}", {"state": "COMPLETED", "message": "3 were selected"})
    return Finished(dataset_id, run_id, tag_id, list(analysed.names), keys[1])


def links(html: str, attribute: str = "href") -> list[str]:
    return [unescape(address) for address in re.findall(rf'{attribute}="([^"]+)"', html)]


def test_the_platforms_address_leads_to_its_pages(ready: dict[str, Any]) -> None:
    answer = requests.get(ready["lightly_url"], timeout=30)
    assert answer.status_code == 200
    assert answer.url == ready["web_url"]
    assert "<title>Datasets · Lightly sandbox</title>" in answer.text


def test_every_link_of_every_page_leads_somewhere(browser: Browser, finished: Finished) -> None:
    start = [
        "/web",
        f"/web/dataset/{finished.dataset_id}",
        finished.tag,
        f"/web/compute/runs/{finished.run_id}",
    ]
    queue, seen = [*start, "/web/compute/runs", "/web/workers", "/web/faults"], set()
    while queue:
        path = queue.pop()
        # Those of the other tests' datasets and runs have tests of their own.
        ours = any(one in path for one in (finished.dataset_id, finished.run_id)) or path.count("/") < 4
        if path in seen or not path.startswith("/") or not ours:
            continue
        seen.add(path)
        answer = browser.get(path)
        assert answer.status_code in (200, 302), f"{path}: {answer.status_code} {answer.text[:300]}"
        if answer.headers.get("content-type", "").startswith("text/html"):
            queue += [*links(answer.text), *links(answer.text, "src"), *links(answer.text, "data-fill")]
    assert len(seen) > 40, "the pictures of the selected images and of those left out are among them"


def test_a_dataset_shows_where_its_files_are_and_no_secret(browser: Browser, finished: Finished) -> None:
    html = browser.page(f"/web/dataset/{finished.dataset_id}")
    assert "/in</bdi>" in html
    assert "3 samples" in html
    assert finished.secret not in html


def test_a_role_is_shown_without_its_external_id(browser: Browser, api: Api, customer: Customer) -> None:
    bucket, dataset_id = customer.bucket(), api.new_dataset()
    role = customer.role("a-secret-external-id", *allow(bucket, LIST))
    api.put_datasource(
        dataset_id, **with_role(f"s3://{bucket}/in", "INPUT_OUTPUT", role, "a-secret-external-id")
    )
    html = browser.page(f"/web/dataset/{dataset_id}")
    assert role in html
    assert "a-secret-external-id" not in html
    lights = browser.page(f"/web/dataset/{dataset_id}/lights")
    assert re.findall(r'class="light (\w+)"', lights) == ["green", "red", "red", "red"]
    assert "s3:GetObject" in lights


def test_lights_of_a_dataset_without_a_datasource_say_what_is_missing(browser: Browser, api: Api) -> None:
    assert "has no datasource for INPUT" in browser.page(f"/web/dataset/{api.new_dataset()}/lights")


def test_the_embedding_shows_every_image_that_was_considered(browser: Browser, finished: Finished) -> None:
    html = browser.page(finished.tag)
    assert f"3 selected and {N_PHOTOS - 3} left out" in html
    points = browser.get(f"{finished.tag}/points").json()
    assert sorted(point["name"] for point in points) == finished.names
    chosen = {point["name"]: point["picture"] for point in points if point["selected"]}
    assert list(chosen) == [finished.names[row] for row in SELECTED]
    assert all(0 <= x <= 1000 and 0 <= y <= 600 for x, y in (point["at"] for point in points))


def test_pictures_are_of_the_images_that_they_stand_for(browser: Browser, finished: Finished) -> None:
    left_out = [name for row, name in enumerate(finished.names) if row not in SELECTED]
    files = dict(frames(N_PHOTOS))
    for path, name in (
        (f"{finished.tag}/left-out/2", left_out[2]),
        (f"{finished.tag}/selected/1", finished.names[SELECTED[1]]),
    ):
        answer = browser.get(path)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
        with Image.open(io.BytesIO(answer.content)) as shown, Image.open(io.BytesIO(files[name])) as original:
            assert max(shown.size) == 256
            alike = np.asarray(original.convert("RGB").resize(shown.size), int) - np.asarray(shown, int)
        assert np.abs(alike).mean() < 12
    assert browser.get(f"{finished.tag}/left-out/{len(left_out)}").status_code == 404


def test_selected_images_are_beside_those_left_out_for_them(browser: Browser, finished: Finished) -> None:
    html = browser.page(f"{finished.tag}?show=pairs")
    distances = [float(found) for found in re.findall(r"distance ([0-9.]+)", html)]
    assert len(distances) == len(SELECTED)
    assert distances == sorted(distances)
    assert html.count("near-duplicate<") == sum(distance < 0.25 for distance in distances) > 0


def test_a_run_has_its_log_report_and_files(browser: Browser, finished: Finished) -> None:
    html = browser.page(f"/web/compute/runs/{finished.run_id}")
    assert "a line &lt;b&gt;of the log&lt;/b&gt;" in html
    assert re.search(r"<dt>images</dt><dd>14</dd>", html)
    assert "data-progress" not in html, "it has ended"
    (file,) = [
        link for link, name in re.findall(r'<a href="([^"]+)"><bdi>([^<]+)', html) if name == "report_v2.json"
    ]
    answer = browser.get(file)
    assert answer.status_code == 302
    assert requests.get(answer.headers["location"], timeout=30).json()["generalInformation"]


def test_a_run_that_goes_on_says_what_is_new(browser: Browser, api: Api) -> None:
    run_id = api.ok("POST", "/v1/docker/runs", {"dockerVersion": "3"})["id"]
    path = f"/v1/docker/runs/{run_id}"
    line = {"ts": 1, "level": "INFO", "group": "g"}
    api.ok("PUT", f"{path}/logs", [{**line, "msg": "the first line"}])
    html = browser.page(f"/web/compute/runs/{run_id}")
    (last,) = links(html, "data-last")
    (address,) = links(html, "data-progress")
    assert browser.get(f"{address}?after={last}").json()["lines"].strip() == ""

    api.ok("PUT", path, {"state": "EMBEDDING"})
    api.ok("PUT", f"{path}/logs", [{**line, "msg": "the <second> line"}])
    news = browser.get(f"{address}?after={last}").json()
    assert "the &lt;second&gt; line" in news["lines"]
    assert "first" not in news["lines"]
    assert ("EMBEDDING" in news["progress"], news["hasEnded"]) == (True, False)

    api.ok("PUT", path, {"state": "FAILED", "message": "why"})
    news = browser.get(f"{address}?after={news['last']}").json()
    assert (news["hasEnded"], news["state"], "why" in news["progress"]) == (True, "FAILED", True)


def test_hostile_names_are_text_on_every_page(browser: Browser, api: Api) -> None:
    dataset_id = api.ok("POST", "/v1/datasets", {"name": "hostile samples", "type": "Images"})["id"]
    for name in HOSTILE:
        api.ok("POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": name})
    tag_id = api.ok("POST", f"/v1/datasets/{dataset_id}/tags/initial", {"imgType": "full"})["id"]
    run_id = api.ok(
        "POST", "/v1/docker/runs", {"dockerVersion": "<3>", "datasetId": dataset_id, "message": "<i>"}
    )["id"]
    line = {"ts": 1, "level": "INFO", "group": "g", "msg": "<u>\u202e</u>"}
    api.ok("PUT", f"/v1/docker/runs/{run_id}/logs", [line])
    pages = [
        *("/web", f"/web/dataset/{dataset_id}", f"/web/dataset/{dataset_id}/tag/{tag_id}"),
        *("/web/compute/runs", f"/web/compute/runs/{run_id}", "/web/workers", "/web?name=<script>"),
    ]
    for path in pages:
        html = browser.page(path)
        assert len(re.findall(r"<script", html)) == 1, path
        for foreign in ("<i>", "<u>", '" onerror', "\u202e", "<3>"):
            assert foreign not in html, (path, foreign)
    samples = browser.page(f"/web/dataset/{dataset_id}")
    assert "gpj.\\u202eexe" in samples
    assert "two\\nlines.jpg" in samples
    assert "{{ 7*7 }}.jpg" in samples


def test_a_picture_that_cannot_be_read_is_a_placeholder(
    browser: Browser, api: Api, customer: Customer
) -> None:
    bucket, dataset_id = customer.bucket("in/a.jpg"), api.new_dataset()
    keys = customer.user(*allow(bucket, LIST, READ))
    api.put_datasource(dataset_id, **with_keys(f"s3://{bucket}/in", "INPUT_OUTPUT", keys))
    for name in ("a.jpg", "missing.jpg"):
        sample_id = api.ok("POST", f"/v1/datasets/{dataset_id}/samples", {"fileName": name})["id"]
        answer = browser.get(f"/web/dataset/{dataset_id}/sample/{sample_id}/picture")
        assert (answer.status_code, answer.headers["content-type"]) == (404, "image/svg+xml")
        assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/web/nothing", 404),
        ("/web/dataset/abc", 404),
        ("/web/dataset/abc/tag/def?show=pairs", 404),
        ("/web/compute/runs/abc", 404),
        ("/web?page=x", 400),
        ("/web/static/..%2frendering.py", 404),
    ],
)
def test_an_error_is_a_page_too(browser: Browser, path: str, status: int) -> None:
    answer = browser.get(path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("text/html")
    assert "<h1>" in answer.text


def test_a_dataset_of_another_user_is_not_shown(browser: Browser, api: Api) -> None:
    other = api.ok("POST", "/sandbox/users", {"email": "pages@example.com"})
    mine = api.send("POST", "/v1/datasets", {"name": "of another user"}, token=other["token"]).json()["id"]
    assert browser.get(f"/web/dataset/{mine}").status_code == 404
    assert "of another user" not in browser.page("/web")


@pytest.fixture
def token(browser: Browser, api: Api) -> Iterator[str]:
    """The token of the forms; afterwards there are no faults."""
    yield links(browser.page("/web/faults"), 'name="token" value')[0]
    api.ok("DELETE", "/sandbox/faults")


def test_faults_are_set_shown_and_ended_on_their_page(browser: Browser, api: Api, token: str) -> None:
    fields = {"token": token, "kind": "status", "operation": "GET /v1/quota", "status": "503", "times": "1"}
    answer = browser.post("/web/faults", {**fields, "seconds": "", "names": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/web/faults")
    assert api.send("GET", "/v1/quota").status_code == 503
    (fault,) = api.ok("GET", "/sandbox/faults")
    html = browser.page("/web/faults")
    assert "GET /v1/quota" in html
    assert "1 of 1" in html
    assert browser.post("/web/faults/remove", {"token": token, "id": fault["id"]}).status_code == 303
    assert api.ok("GET", "/sandbox/faults") == []
    for _ in range(2):
        browser.post("/web/faults", fields)
    assert browser.post("/web/faults/clear", {"token": token}).status_code == 303
    assert api.ok("GET", "/sandbox/faults") == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "status", "operation": "GET /v1/quota"}, "status: Field required"),
        ({"kind": "status", "operation": "GET /v1/quota", "status": "200"}, "greater than or equal to 400"),
        ({"kind": "reset", "operation": "<b>"}, "&lt;b&gt;"),
        ({"kind": "<b>"}, "kind: "),
        ({"kind": "delay", "operation": "* *", "seconds": "soon"}, "is not a number"),
    ],
)
def test_what_is_wrong_with_a_fault_is_said_beside_what_was_filled_in(
    browser: Browser, api: Api, token: str, fields: dict[str, str], said: str
) -> None:
    answer = browser.post("/web/faults", {"token": token, **fields})
    assert answer.status_code == 400
    assert said in answer.text
    assert "<b>" not in answer.text
    assert api.ok("GET", "/sandbox/faults") == []


@pytest.mark.parametrize("path", ["/web/faults", "/web/faults/remove", "/web/faults/clear"])
def test_a_form_of_another_page_sets_nothing(browser: Browser, api: Api, token: str, path: str) -> None:
    fields = {"kind": "reset", "operation": "GET /v1/quota", "id": "1", "token": token}
    others: list[tuple[dict[str, str], dict[str, str]]] = [
        ({**fields, "token": ""}, {}),
        ({**fields, "token": "0" * 64}, {}),
        (fields, {"Origin": "http://evil.example"}),
        (fields, {"Origin": "null"}),
        (fields, {"Sec-Fetch-Site": "cross-site"}),
        (fields, {"Sec-Fetch-Site": "same-site"}),
    ]
    for sent, headers in others:
        assert browser.post(path, sent, **headers).status_code == 403, (sent, headers)
    assert api.ok("GET", "/sandbox/faults") == []


def test_a_form_without_end_is_refused(browser: Browser, token: str) -> None:
    assert browser.post("/web/faults", {"token": token, "operation": "x" * 20_000}).status_code == 400
