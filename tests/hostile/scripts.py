"""What a hostile server answers: slowly, without an end, too much, or wrong."""

from __future__ import annotations

import json

from tests.hostile.hostile_server import (
    Bytes,
    answer,
    dripping_body,
    dripping_head,
    endless_head,
    gzip_bomb,
    huge,
)

HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"

# A busy machine is late itself.
SPARE_S = 20.0

SLOW: dict[str, Bytes] = {
    "a body one byte at a time": dripping_body(),
    "likewise, and the connection closes after it": dripping_body(headers=("Connection: close",)),
    "a compressed body one byte at a time": dripping_body(b"\x1f", headers=("Content-Encoding: gzip",)),
    "a head one byte at a time": dripping_head(),
    "no answer": Bytes(lambda: iter([]), stays_open=True),
    "half an answer": Bytes(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["]), stays_open=True),
    "an error one byte at a time": Bytes(
        lambda: iter([b"HTTP/1.1 500 Any\r\nContent-Length: 100000\r\n\r\n", *[b"x"] * 1000]), pause=0.05
    ),
}

BOMB = gzip_bomb(4096)

LARGE: dict[str, Bytes] = {
    "100 MiB": huge(100),
    "100 MiB in chunks": huge(100, chunked=True),
    "100 MiB of a web page": huge(100, start=HTML),
    "4 GiB, compressed": BOMB,
    "an error of 4 GiB": Bytes(lambda: iter([part.replace(b" 200 ", b" 500 ", 1) for part in BOMB.parts()])),
    "a million empty lists": answer(b"[" + b"[]," * 1_000_000 + b"[]]"),
    "a million numbers": answer(b"[" + b"1," * 1_000_000 + b"1]"),
}

WRONG: dict[str, Bytes] = {
    "no HTTP": Bytes(lambda: iter([b"hello\r\n"])),
    "closed": Bytes(lambda: iter([]), then_reset=True),
    "reset in the body": Bytes(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["]), then_reset=True),
    "shorter than it says": Bytes(lambda: answer(b"[]", length=10).parts(), then_reset=True),
    "a negative length": answer(b"[]", length=-5),
    "a length of letters": Bytes(lambda: iter([b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n[}"]), then_reset=True),
    "chunks without a size": Bytes(
        lambda: iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n"]), then_reset=True
    ),
    "headers without an end": endless_head(),
    "not compressed as it says": answer(b"[]", headers=("Content-Encoding: gzip",)),
    "compressed and cut short": answer(b"\x1f\x8b\x08\x00", headers=("Content-Encoding: gzip",)),
    "compressed in another way": answer(b"[]", headers=("Content-Encoding: br",)),
    "compressed twice": answer(b"[]", headers=("Content-Encoding: gzip, gzip",)),
    "a web page": answer(HTML),
    "a web page that says so": answer(b"[]", headers=("Content-Type: text/html",)),
    "a redirect": answer(HTML, status=302, headers=("Location: http://127.0.0.1:1/?token=x",)),
    "a redirect to nowhere": answer(status=307, headers=("Location: http://[",)),
    "a redirect of bytes": answer(status=308, headers=("Location: /\xff\xfe",)),
    "a redirect without an end": Bytes(
        lambda: iter([b"HTTP/1.1 301 Any\r\nLocation: /\r\nContent-Length: 99999999\r\n\r\n", b"x"]), then_reset=True
    ),
    "1xx only": Bytes(lambda: iter([b"HTTP/1.1 100 Continue\r\n\r\n"] * 3), then_reset=True),
    "deeply nested": answer(b"[" * 1_000_000),
    "deeply nested and closed": answer(b"[" * 900 + b"]" * 900),
    "nested a little too deeply": answer(b'{"a":' * 60 + b"1" + b"}" * 60),
    "NaN": answer(b"[NaN]"),
    "Infinity": answer(b'[{"id": -Infinity}]'),
    "1e999": answer(b"[1e999]"),
    "5,000 digits": answer(b"[" + b"9" * 5000 + b"]"),
    "no UTF-8": answer(b'["\xff\xfe\x00"]'),
    "UTF-16": answer('[{"id": "x"}]'.encode("utf-16")),
    "an object for a list": answer(b"{}"),
    "null": answer(b"null"),
    "a list of null": answer(b"[null]"),
    "a wrong id": answer(json.dumps([{"id": "../../etc", "state": "STARTED"}]).encode()),
    "an id with NUL": answer(json.dumps([{"id": "a" * 23 + "\x00", "state": "STARTED"}]).encode()),
}
