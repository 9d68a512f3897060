"""Read a large JSON object from start to end, one element of its arrays at a time."""

from __future__ import annotations

import codecs
import json
from typing import IO, TYPE_CHECKING, Any

from lightly_provider.results.own_files import no_constant, whole_number

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = 2**20
_LARGEST_VALUE = 64 * 2**20
_BLANKS = " \t\r\n"


class JsonStream:
    """
    A position in a JSON text. All methods raise ``ValueError`` for what is not JSON.

    :param file: File with the text in UTF-8.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = codecs.getincrementaldecoder("utf-8-sig")()
        self._decoder = json.JSONDecoder(parse_constant=no_constant, parse_int=whole_number)
        self._buffer = ""
        self._at = 0
        self._before = 0  # characters that were dropped
        self._is_ended = False

    def peek(self) -> str:
        """Return the next character that is not blank; empty at the end."""
        while True:
            while self._at < len(self._buffer):
                if self._buffer[self._at] not in _BLANKS:
                    return self._buffer[self._at]
                self._at += 1
            if not self._more():
                return ""

    def members(self) -> Iterator[str]:
        """Yield the names of an object's members; the caller reads the value of each before the next."""
        self._take("{")
        if self.peek() == "}":
            self._take("}")
            return
        while True:
            name = self.value()
            if not isinstance(name, str):
                raise self._fault("the name of a member")
            self._take(":")
            yield name
            if self.peek() != ",":
                self._take("}")
                return
            self._take(",")

    def elements(self) -> Iterator[Any]:
        """Yield the elements of an array."""
        self._take("[")
        if self.peek() == "]":
            self._take("]")
            return
        while True:
            yield self.value()
            if self.peek() != ",":
                self._take("]")
                return
            self._take(",")

    def value(self) -> Any:
        """Return the next value as a whole."""
        self.peek()
        while True:
            fault = ""
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
                # A number that ends with the buffer may go on.
                if end < len(self._buffer) or self._is_ended:
                    self._at = end
                    return value
            except json.JSONDecodeError as error:
                fault = error.msg.lower()
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            if len(self._buffer) - self._at > _LARGEST_VALUE:
                raise ValueError(f"a value is larger than {_LARGEST_VALUE // 2**20} MiB, or is not JSON")
            # Doubled, so that a large value is not parsed again for each piece.
            if not self._more(len(self._buffer) - self._at) and fault:
                raise self._fault(fault)

    def _take(self, sign: str) -> None:
        if self.peek() != sign:
            raise self._fault(f"{sign!r} expected")
        self._at += 1

    def _more(self, least: int = 0) -> bool:
        """Read on; return False at the end."""
        if self._is_ended:
            return False
        try:
            piece = self._file.read(max(_PIECE, least))
            self._is_ended = not piece
            text = self._text.decode(piece, final=self._is_ended)
        except UnicodeDecodeError:
            raise ValueError("it is not UTF-8") from None
        self._before += self._at
        self._buffer = self._buffer[self._at :] + text
        self._at = 0
        return not self._is_ended or bool(text)

    def _fault(self, what: str) -> ValueError:
        return ValueError(f"it is not JSON ({what} at character {self._before + self._at})")
