"""Read a fleet's file, and check it as a whole: all faults at once, each with its line."""

from __future__ import annotations

import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from lightly_provider.api.models.validation import describe_one
from lightly_provider.api.models.worker_config import SelectionConfig, WorkerOptions
from lightly_provider.aws.location import S3Location
from lightly_provider.exceptions import LightlyFleetError
from lightly_provider.fleet import written
from lightly_provider.fleet.faults import Fault, Place, described
from lightly_provider.fleet.models import MOST_DATASETS, FleetDataset, FleetDefaults
from lightly_provider.foreign_text import shown
from lightly_provider.suggestions import did_you_mean, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from lightly_provider.fleet.written import Written

_TOP = ("defaults", "datasets")
_IGNORED = "x-"
# Sections that are part of the worker's configuration, which has messages of its own.
_OF_THE_WORKER: Mapping[str, type[BaseModel]] = {"selection": SelectionConfig, "worker": WorkerOptions}
_KINDS = {
    "string_type": "a text",
    "bool_type": "true or false",
    "list_type": "a list",
    "model_type": "a mapping",
    "dict_type": "a mapping",
}


@dataclass(frozen=True)
class Fleet:
    """
    The datasets of a file.

    :param datasets: The datasets, in the order of the file, with the defaults filled in.
    :param lines: The line in which each begins, by name.
    """

    datasets: tuple[FleetDataset, ...]
    lines: Mapping[str, int]

    @classmethod
    def read(cls, path: str | Path) -> Fleet:
        """
        Read a file, and check it as a whole. Nothing else is read, and no request is sent.

        :param path: Path of the YAML file: at most 1 MiB, and at most 1,000 datasets.
        :raises LightlyFleetError: The file cannot be read, or has faults; the message has all of them with their lines.
        """
        faults: list[Fault] = []
        shown_path = shown(path, longest=500)
        content = _content(Path(path), shown_path)
        if len(content) > written.MOST_BYTES:
            faults.append(_too_large(content, Path(path).stat().st_size))
        fleet = _fleet(content, faults) if not faults else None
        if faults or fleet is None:
            raise LightlyFleetError(described(shown_path, faults))
        return fleet


def _content(path: Path, shown_path: str) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise LightlyFleetError(f"{shown_path} is not a file, so nothing was started; name the YAML file itself.")
        with path.open("rb") as file:
            return file.read(written.MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, LightlyFleetError):
            raise
        reason = shown(getattr(error, "strerror", None) or error, longest=200)
    raise LightlyFleetError(f"{shown_path} cannot be read ({reason}), so nothing was started; check the path.")


def _too_large(content: bytes, size: int) -> Fault:
    return Fault(
        Place(content.count(b"\n") + 1),
        f"the file has {size / 2**20:.1f} MiB, and at most 1 MiB is read, enough for {MOST_DATASETS:,} datasets; "
        "divide it into several files, or put what repeats into defaults or an anchor.",
    )


def _fleet(content: bytes, faults: list[Fault]) -> Fleet | None:
    document, found = written.read(content)
    faults += found
    if document is None:
        if not faults:
            faults.append(Fault(Place(1), "the file is empty; begin with datasets: and a list of datasets."))
        return None
    if document.members is None:
        faults.append(Fault(document.place, f"{_DATASETS}; begin with datasets:."))
        return None
    for name, member in document.members.items():
        if name not in _TOP and not name.startswith(_IGNORED):
            faults.append(Fault(member.place, _unknown(name, _TOP, more="; a key that begins with x- is ignored")))
    defaults = document.members["defaults"].value if "defaults" in document.members else None
    if defaults is not None and defaults.members is None:
        if defaults.is_container or defaults.scalar is not None:
            faults.append(Fault(defaults.place, "defaults is not a mapping; write key: value below it."))
        defaults = None
    if defaults is not None:
        _validated(FleetDefaults, defaults, defaults.plain, faults)
    faults += [
        Fault(place, "Airflow's templates are not rendered here; write the value itself.")
        for place in document.places_of(lambda value: isinstance(value, str) and ("{{" in value or "{%" in value))
    ]
    entries = _entries(document, faults)
    if defaults is not None and defaults.size * len(entries) > written.MOST_VALUES:
        faults.append(
            Fault(
                defaults.place,
                f"defaults has {defaults.size:,} values, and with them in each of the {len(entries):,} datasets the "
                f"file has more than {written.MOST_VALUES:,}; shorten it.",
            )
        )
        return None
    datasets = [(entry, dataset) for entry in entries if (dataset := _dataset(entry, defaults, faults)) is not None]
    _check_names(entries, faults)
    _check_locations(entries, faults)
    if faults:
        return None
    return Fleet(
        tuple(dataset for _, dataset in datasets),
        {dataset.name: entry.place.line for entry, dataset in datasets},
    )


_DATASETS = "the file is a mapping with a list of datasets"


def _entries(document: Written, faults: list[Fault]) -> list[Written]:
    member = (document.members or {}).get("datasets")
    if member is None:
        faults.append(Fault(document.place, f"datasets is missing: {_DATASETS}."))
        return []
    if member.value.items is None:
        faults.append(Fault(member.place, "datasets is not a list; write - name: … for each dataset."))
        return []
    entries = member.value.items
    if not entries:
        faults.append(Fault(member.place, "datasets is empty; write - name: … for each dataset."))
    if len(entries) > MOST_DATASETS:
        faults.append(
            Fault(
                entries[MOST_DATASETS].place,
                f"this is dataset {MOST_DATASETS + 1:,} of {len(entries):,}, and a file has at most {MOST_DATASETS:,}: "
                "one DAG run maps a task for each, and Airflow maps at most 1,024 (core.max_map_length); divide the "
                "file into several, each with a DAG of its own.",
            )
        )
        return []
    return entries


def _dataset(entry: Written, defaults: Written | None, faults: list[Fault]) -> FleetDataset | None:
    if entry.members is None:
        faults.append(Fault(entry.place, "a dataset is a mapping; write - name: …, input: … and so on."))
        return None
    own = entry.plain
    # What the dataset says counts, also if it says that there is none.
    inherited = {name: value for name, value in (defaults.plain if defaults else {}).items() if name not in own}
    known = {name: value for name, value in inherited.items() if name in FleetDefaults.model_fields}
    before = len(faults)
    dataset = _validated(FleetDataset, entry, {**known, **own}, faults, defaults=defaults)
    if dataset is not None and dataset.access is None:
        faults.append(
            Fault(
                entry.key_place("access") if "access" in own else entry.place,
                "access is missing: name the AWS connection that is handed over to Lightly, here or in defaults.",
            )
        )
    return dataset if len(faults) == before else None


def _validated(
    model: type[Any], entry: Written, value: dict[str, Any], faults: list[Fault], defaults: Written | None = None
) -> Any:
    """Return the model of a section; None, and its faults, if it is not valid."""
    try:
        return model.model_validate(_without_null(model, value))
    except ValidationError as error:
        listed = error.errors(include_url=False)
    # What cannot be read, or stands there by another name, would be reported twice.
    unknown = [one["loc"][-1] for one in listed if one["type"] == "extra_forbidden"]
    meant = {near for name in unknown for near in nearest(name, model.model_fields, n=1)}
    unreadable = {fault.place for fault in faults}
    for refused in listed:
        if refused["type"] != "missing" or refused["loc"][-1] not in meant:
            fault = _fault(model, refused, entry, defaults)
            if fault.place not in unreadable:
                faults.append(fault)
    return None


def _without_null(model: type[BaseModel], value: dict[str, Any]) -> dict[str, Any]:
    """A key with nothing behind it is the same as one that has its default, also where that is not null."""
    return {
        name: member
        for name, member in value.items()
        if member is not None or name not in model.model_fields or model.model_fields[name].is_required()
    }


def _fault(model: type[BaseModel], refused: Any, entry: Written, defaults: Written | None) -> Fault:
    path: tuple[str | int, ...] = refused["loc"]
    name = str(path[0]) if path else ""
    at = entry
    if name and defaults is not None and name not in (entry.members or {}) and name in (defaults.members or {}):
        at = defaults
    place = _key_place(at, path) if refused["type"] == "extra_forbidden" else at.place_of(path)
    if name in _OF_THE_WORKER and len(path) > 1:
        inner = {**refused, "loc": path[1:]}
        return Fault(place, describe_one(_OF_THE_WORKER[name], inner, argument=name))
    return Fault(place, _sentence(model, name, path, refused))


def _key_place(at: Written, path: tuple[str | int, ...]) -> Place:
    current = at
    for part in path[:-1]:
        if isinstance(part, int) and current.items is not None and part < len(current.items):
            current = current.items[part]
        elif isinstance(part, str) and current.members is not None and part in current.members:
            current = current.members[part].value
    return current.key_place(str(path[-1]))


def _sentence(model: type[BaseModel], name: str, path: tuple[str | int, ...], refused: Any) -> str:
    kind, value = refused["type"], refused["input"]
    what = name + "".join(f"[{part}]" for part in path[1:])
    if kind == "extra_forbidden":
        return _unknown(name, model.model_fields)
    if kind == "missing":
        return f"{name} is missing; add it."
    if kind == "literal_error":
        return f"{what} is {_quoted(value)}; {_choice(str(value), _choices(refused))}"
    if kind == "value_error":
        message = refused["msg"].removeprefix("Value error, ").rstrip(".")
        return f"{message}." if message.startswith(f"{name}=") else f"{what}: {message}."
    if kind in _KINDS:
        hint = _hint(kind, value)
        return f"{what} is {_quoted(value)}, and {_KINDS[kind]} is needed{hint}."
    if name == "name":
        return (
            f"name is {_quoted(value)}, which the platform does not allow; use 3 to 250 letters, digits, blanks, '_' "
            "and '-', and begin with a letter or digit."
        )
    return f"{what} is {_quoted(value)}: {refused['msg'][:1].lower()}{refused['msg'][1:]}."


def _hint(kind: str, value: Any) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it between quotes"
    if kind == "list_type" and isinstance(value, str):
        return f"; write [{shown(value, longest=100)}]"
    return ""


def _quoted(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return shown(repr(value), longest=200)


def _choices(refused: Any) -> list[str]:
    expected = str(refused.get("ctx", {}).get("expected", ""))
    return [word.strip(" '\"") for word in expected.replace(" or ", ", ").split(",")]


def _choice(value: str, choices: list[str]) -> str:
    return did_you_mean(value, choices, otherwise=f"write one of {', '.join(choices)}.")


def _unknown(name: str, known: Iterable[str], *, more: str = "") -> str:
    names = list(known)
    hint = did_you_mean(name, names, otherwise=f"known are {', '.join(names)}{more}.")
    return f"there is no key {shown(name, longest=100)!r} here; {hint}"


# --- datasets beside each other ----------------------------------------------------------------------------------


def _check_names(entries: list[Written], faults: list[Fault]) -> None:
    first: dict[str, Place] = {}
    for entry in entries:
        member = (entry.members or {}).get("name")
        if member is None or not isinstance(name := member.value.scalar, str):
            continue
        place = member.value.place
        if name in first:
            faults.append(
                Fault(
                    place,
                    f"there is a dataset {shown(name, longest=100)!r} already, in line {first[name].line}; give each "
                    "its own name.",
                )
            )
        first.setdefault(name, place)


@dataclass(frozen=True, eq=False)
class _Located:
    """A location of a dataset, whatever else is wrong with that."""

    entry: Written
    location: S3Location
    place: Place

    @property
    def named(self) -> str:
        """The dataset in a message."""
        name = (self.entry.members or {}).get("name")
        text = name.value.scalar if name else None
        return f"{shown(text, longest=100)!r}" if isinstance(text, str) else "the dataset"

    @property
    def key(self) -> tuple[str, str]:
        return self.location.bucket, self.location.prefix


def _located(entries: Iterable[Written], name: str) -> Iterator[_Located]:
    """Yield the locations by this name that can be parsed; of the others, the fault was reported."""
    for entry in entries:
        member = (entry.members or {}).get(name)
        if member is not None and isinstance(uri := member.value.scalar, str):
            with suppress(ValueError):
                yield _Located(entry, S3Location.parse(uri, argument=name), member.value.place)


def _check_locations(entries: list[Written], faults: list[Fault]) -> None:
    inputs: dict[tuple[str, str], _Located] = {}
    outputs: dict[tuple[str, str], _Located] = {}
    for each in _located(entries, "input"):
        if (first := inputs.setdefault(each.key, each)) is not each:
            message = f"the input of {first.named} in line {first.place.line} is the same; leave one of them out."
            faults.append(Fault(each.place, message))
    for each in inputs.values():
        for parent in _parents(each.location.prefix):
            if (other := inputs.get((each.location.bucket, parent))) is not None:
                message = (
                    f"this input lies inside the input of {other.named} in line {other.place.line}, so that its files "
                    "would be in both datasets; divide the files among folders beside each other."
                )
                faults.append(Fault(each.place, message))
                break
    for each in _located(entries, "output"):
        if (first := outputs.setdefault(each.key, each)) is not each:
            message = (
                f"the output of {first.named} in line {first.place.line} is the same, so that the files of one would "
                "replace those of the other; give each its own."
            )
            faults.append(Fault(each.place, message))
        for folder in (each.location.prefix, *_parents(each.location.prefix)):
            if (other := inputs.get((each.location.bucket, folder))) is not None:
                faults.append(_output_in_input(each, other))
                break


def _output_in_input(output: _Located, source: _Located) -> Fault:
    is_own = source.entry is output.entry
    if is_own and source.key == output.key:
        return Fault(output.place, "the output is the input itself; leave output out, which means the same.")
    whose = "its own input" if is_own else f"the input of {source.named} in line {source.place.line}"
    return Fault(
        output.place,
        f"this output lies inside {whose}, so that what Lightly writes would be read as input; choose a location "
        "outside of all inputs.",
    )


def _parents(prefix: str) -> Iterator[str]:
    """Yield each folder that contains this one, the nearest first, and at last the whole bucket."""
    folder = prefix.removesuffix("/")
    while folder:
        folder = folder.rpartition("/")[0]
        yield f"{folder}/" if folder else ""
