"""
Relevant filenames: the list of input files to which a run of the worker is restricted.

The worker reads it from a text file below ``.lightly/`` of the LIGHTLY datasource: one path, folder or pattern per
line, relative to the INPUT datasource, without ``./`` and ``../`` (https://docs.lightly.ai/docs/relevant-filenames).
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightly_provider.aws.location import relative_name_fault
from lightly_provider.exceptions import LightlyDatasourceError
from lightly_provider.foreign_text import is_storable, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import IO

    from lightly_provider.api.models.datasource import Datasource
    from lightly_provider.aws.location import S3Location

# Below the LIGHTLY datasource's path.
FOLDER = ".lightly/relevant_filenames/"
MOST_NAMES = 1_000_000

_LONGEST_KEY = 1024  # bytes; AWS docs: S3 user guide, "Naming Amazon S3 objects"
_LONGEST_LINE = 64 * 1024  # a manifest's line holds a name and some labels
_LONGEST_SHOWN = 200
_SCHEME = "s3://"
# The wildcards of gitignore's patterns, which a line may be.
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class RelevantFilenames:
    """
    The files to which a run is restricted.

    :param lines: Paths and patterns relative to the input, each once, in the order in which they were given.
    :param n_duplicates: How many more were given.
    """

    lines: tuple[str, ...]
    n_duplicates: int = 0

    @classmethod
    def of(cls, entries: Iterable[tuple[str, str]], *, input_location: S3Location, source: str) -> RelevantFilenames:
        """
        Collect them.

        :param entries: Where each entry stands, for messages, and the entry: a path or pattern relative to the input,
            or the ``s3://`` address of an input file, which stands for exactly this file.
        :param input_location: Location of the dataset's INPUT datasource.
        :param source: Where the entries are from, for messages.
        :raises ValueError: There are none, or too many, or one is invalid; the message contains its place.
        """
        lines: dict[str, None] = {}
        n_given = 0
        for place, entry in entries:
            n_given += 1
            lines[_line(entry, place=place, input_location=input_location)] = None
            if len(lines) > MOST_NAMES:
                raise ValueError(
                    f"{source} has more than {MOST_NAMES:,} file names; name folders (e.g. 2026-11-27/*), or divide "
                    "them among several runs."
                )
        if not lines:
            raise _no_names(source)
        return cls(tuple(lines), n_given - len(lines))

    @classmethod
    def read(
        cls, given: Sequence[str] | str, *, input_location: S3Location, aws_conn_id: str | None, argument: str
    ) -> RelevantFilenames:
        """
        Read them from a list, or from a file.

        :param given: The entries, see :meth:`of`; or the address of a file with them, see :func:`entries_of_file`.
        :param input_location: Location of the dataset's INPUT datasource.
        :param aws_conn_id: AWS connection that reads the file; None: boto3's default credentials.
        :param argument: The operator's argument, for messages.
        :raises ValueError: An entry is invalid, or there are none.
        :raises LightlySourceError: The file cannot be read.
        """
        if not isinstance(given, str):
            return cls.of(entries_of_list(given, argument=argument), input_location=input_location, source=argument)
        from lightly_provider.results.sources import Source

        file = Source.parse(given, aws_conn_id=aws_conn_id, argument=argument).file()
        with file.open() as opened:
            entries = entries_of_file(opened, address=file.uri)
            return cls.of(entries, input_location=input_location, source=shown(file.uri))

    def write(self, datasource: Datasource, *, aws_conn_id: str | None) -> str:
        """
        Write the file for the worker.

        :param datasource: The dataset's LIGHTLY datasource.
        :param aws_conn_id: AWS connection that writes it; None: boto3's default credentials.
        :return: Address of the file.
        :raises LightlyAccessError: AWS denied the request.
        """
        from lightly_provider.hooks.aws import AwsConnection, refusals_explained

        location, connection = location_of(datasource), AwsConnection(aws_conn_id)
        # As the worker encrypts its own files there, which Lightly may decrypt.
        key = datasource.kms_key_arn
        encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}
        with refusals_explained(connection):
            connection.client("s3").put_object(
                Bucket=location.bucket,
                Key=f"{location.prefix}{self.file_name}",
                Body=self.content,
                ContentType="text/plain; charset=utf-8",
                **encryption,
            )
        return f"{location.uri}{self.file_name}"

    @property
    def content(self) -> bytes:
        """The file for the worker."""
        return "".join(f"{line}\n" for line in self.lines).encode()

    @property
    def file_name(self) -> str:
        """
        The file's path relative to the LIGHTLY datasource.

        Equal content has the same path, so that a further try writes the same file and finds the run that was
        scheduled with it.
        """
        return f"{FOLDER}{hashlib.sha256(self.content).hexdigest()[:32]}.txt"


def location_of(datasource: Datasource) -> S3Location:
    """
    Return a datasource's location.

    :raises LightlyDatasourceError: It is not in S3.
    """
    from lightly_provider.aws.location import InvalidLocationError, S3Location

    try:
        return S3Location.from_stored(datasource.full_path)
    except InvalidLocationError:
        raise LightlyDatasourceError(
            f"The datasource for {shown(datasource.purpose)} is of the type {shown(datasource.type)}, and "
            "relevant_filenames can be written to S3 only; write the file yourself, and name it in worker_config as "
            "relevant_filenames_file.",
            operation="get_datasources_by_dataset_id",
        ) from None


def check_entries(names: Sequence[str], *, argument: str) -> None:
    """
    Reject a list that is invalid for every dataset.

    :param names: Paths, patterns or ``s3://`` addresses.
    :param argument: The operator's argument.
    :raises ValueError: With the place, the entry and the reason.
    """
    if not names:
        raise _no_names(argument)
    for place, entry in entries_of_list(names, argument=argument):
        check_entry(entry, place=place)


def _no_names(source: str) -> ValueError:
    return ValueError(
        f"{source} has no file name, and the platform does not say what a run would read then; skip the task where "
        "nothing has arrived, e.g. by a task of @task.short_circuit before it."
    )


def check_entry(entry: str, *, place: str) -> None:
    """
    Reject an entry that is invalid for every dataset.

    :param entry: Path, pattern or ``s3://`` address.
    :param place: Where it stands, for the message.
    :raises ValueError: With the place, the entry and the reason.
    """
    name = entry.removeprefix(_SCHEME)
    fault = None
    if not name.strip():
        fault = "names no file; leave it out"
    elif any(sign in name for sign in "\n\r") or not is_storable(name):
        fault = (
            "holds a line break or a character that no text file can hold; such a file cannot be named to the worker"
        )
    elif len(name.encode()) > _LONGEST_KEY + 64:
        fault = f"is longer than the {_LONGEST_KEY} bytes of an S3 key; give one name per entry"
    else:
        fault = relative_name_fault(name)
    if fault:
        raise ValueError(f"{place} is {shown(entry, longest=_LONGEST_SHOWN)!r}, which {fault}.")


def entries_of_list(names: Iterable[str], *, argument: str) -> Iterator[tuple[str, str]]:
    """
    Yield the entries of a list, with their places.

    :param names: Paths, patterns or ``s3://`` addresses.
    :param argument: The operator's argument.
    """
    for number, name in enumerate(names):
        yield f"{argument}[{number}]", name


def entries_of_file(file: IO[bytes], *, address: str) -> Iterator[tuple[str, str]]:
    """
    Yield the entries of a file, with their places.

    The file has one entry per line: a path, a pattern or an ``s3://`` address; or it is a manifest, where each line is
    a JSON object whose ``source-ref`` is the address (AWS docs: SageMaker, "Input manifest files"). Empty lines do not
    count.

    :param file: The open file.
    :param address: Its address, for messages.
    :raises ValueError: A line is too long, not UTF-8 or not part of a manifest.
    """
    is_manifest: bool | None = None
    number = 0
    while raw := file.readline(_LONGEST_LINE + 1):
        number += 1
        place = f"Line {number} of {shown(address)}"
        if len(raw) > _LONGEST_LINE:
            raise ValueError(f"{place} has more than {_LONGEST_LINE:,} bytes; give a file with one name per line.")
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise ValueError(f"{place} is not UTF-8; save the file in that encoding.") from None
        if not line.strip():
            continue
        if is_manifest is None:
            is_manifest = line.lstrip().startswith('{"')
        yield place, _source_ref(line, place=place) if is_manifest else line


def _source_ref(line: str, *, place: str) -> str:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    address = entry.get("source-ref") if isinstance(entry, dict) else None
    if not isinstance(address, str):
        raise ValueError(
            f"{place} is not a JSON object with a text 'source-ref', though the file is a manifest by its first line; "
            "write it again, as it may have been cut off."
        )
    return address


def _line(entry: str, *, place: str, input_location: S3Location) -> str:
    check_entry(entry, place=place)
    if not entry.startswith(_SCHEME):
        return entry
    name = entry.removeprefix(input_location.uri)
    if name == entry or not name:
        raise ValueError(
            f"{place} is {shown(entry, longest=_LONGEST_SHOWN)!r}, which is not a file in the dataset's input "
            f"{shown(input_location.uri)}; name files of that location only."
        )
    # An address is that of one file. A character class of one character stands for this character itself.
    return _WILDCARD.sub(lambda sign: f"[{sign.group()}]", name)
