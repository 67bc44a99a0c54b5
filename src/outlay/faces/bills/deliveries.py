"""What lies at an address, sorted out: the tables of one bill, answers of cost APIs, and files of anything else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from outlay.capture.lines import STANDARD_INPUT
from outlay.capture.statement_bodies import body_format
from outlay.errors import InvalidInput
from outlay.faces.bills.addresses import files_at, is_remote, local_file
from outlay.faces.bills.tables import TableFile, table_file

_MANIFEST: Final = re.compile(r"manifest\.json$", re.IGNORECASE)
_CHUNK: Final = re.compile(r"[-_](\d{3,5})(?:\.snappy)?\.(?:csv|parquet)(?:\.gz|\.zip)?$", re.IGNORECASE)
_BODY_BYTES_MAX: Final = 256 << 20
_HEAD_BYTES: Final = 64 << 10


class Delivery(msgspec.Struct, frozen=True):
    """What was found: tables that make one statement, answers of cost APIs, and what is no bill by itself.

    `whole` says that the tables are a provider's complete delivery, so that they replace what was delivered before.
    """

    tables: list[TableFile]
    bodies: list[tuple[str, Any]]
    others: list[tuple[str, Path]]
    whole: bool


@contextmanager
def delivered(address: str) -> Iterator[Delivery]:
    """What lies at an address, copied near where it is far. Raises as `files_at`, or InvalidInput `no_such_file`."""
    if address == STANDARD_INPUT:
        yield Delivery([], [], [(STANDARD_INPUT, Path(STANDARD_INPUT))], whole=False)
        return
    with ExitStack() as copies:
        names = files_at(address)
        manifests = [name for name in names if _MANIFEST.search(name)]
        if manifests:
            names = _of_manifests(address, names, manifests, copies)
        tables: list[TableFile] = []
        bodies: list[tuple[str, Any]] = []
        others: list[tuple[str, Path]] = []
        for name in names:
            path = copies.enter_context(local_file(name))
            table = table_file(path, name)
            if table is not None:
                tables.append(table)
            elif (body := _body(path)) is not None:
                bodies.append((name, body))
            else:
                others.append((name, path))
        yield Delivery(tables, bodies, others, whole=not _is_one_chunk(address, names))


def _is_one_chunk(address: str, names: Sequence[str]) -> bool:
    """Whether this is one numbered file of a delivery of several: then it says nothing of what it leaves out."""
    if len(names) != 1 or names[0] != address:
        return False
    found = _CHUNK.search(address)
    if found is None:
        return False
    if int(found[1]) > 1 or is_remote(address):
        return True
    start = address[: found.start(1)]
    return any(str(other).startswith(start) and str(other) != address for other in Path(address).parent.iterdir())


def _body(path: Path) -> Any:
    """The answer of a cost API in a file, or None. Its numbers stay text."""
    if path.stat().st_size > _BODY_BYTES_MAX or not _begins_as_answer(path):
        return None
    try:
        found = read_json(path.read_bytes())
    except ValueError:
        return None
    return found if body_format(found) is not None else None


def _begins_as_answer(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return head.lstrip()[:1] in (b"{", b"[") and any(name in head for name in (b'"ResultsByTime"', b'"data"'))


def read_json(data: bytes | str) -> Any:
    """JSON whose numbers with a fraction stay the text they were received as. Raises ValueError."""
    return json.loads(data, parse_float=str, parse_constant=str)


def _of_manifests(address: str, names: list[str], manifests: list[str], copies: ExitStack) -> list[str]:
    """The files that the newest manifest of each billing period names; all of them where none names any."""
    chosen: dict[str, tuple[tuple[int, str], str, list[str]]] = {}
    for manifest in manifests:
        told = _read_manifest(copies.enter_context(local_file(manifest)), manifest)
        period, files = _period(told, manifest), _named_files(told)
        # The manifest nearest the top speaks of the delivery in force; each delivery's own lies in its folder.
        rank = (-manifest.count("/"), str(told.get("createdAt") or told.get("lastModified") or manifest))
        if files and (period not in chosen or rank > chosen[period][0]):
            chosen[period] = (rank, manifest, files)
    if not chosen:
        return [name for name in names if name not in manifests]
    found: list[str] = []
    for _, manifest, files in chosen.values():
        found += [_near(file, names, manifest, address) for file in files]
    return sorted(set(found))


def _read_manifest(path: Path, name: str) -> Mapping[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"manifest {name} cannot be read: {error}", code="unreadable_file") from error
    return told if isinstance(told, Mapping) else {}


def _period(told: Mapping[str, Any], name: str) -> str:
    period = told.get("billingPeriod")
    if isinstance(period, Mapping):
        return str(period.get("start"))
    found = re.search(r"BILLING_PERIOD=(\d{4}-\d{2})", name)
    return found[1] if found else str(period or "")


def _named_files(told: Mapping[str, Any]) -> list[str]:
    """The files that a manifest names: `reportKeys` of the legacy report, `dataFiles` of data exports."""
    for name in ("reportKeys", "dataFiles", "data_files", "files"):
        files = told.get(name)
        if isinstance(files, list) and all(isinstance(file, str) for file in files):
            return files
    return []


def _near(file: str, names: list[str], manifest: str, address: str) -> str:
    """The address of a file that a manifest names, wherever the delivery was copied to."""
    parts = PurePosixPath(file.partition("://")[2] or file).parts
    for length in range(len(parts), 0, -1):
        tail = "/".join(parts[-length:])
        for name in names:
            if name == tail or name.endswith("/" + tail):
                return name
    if not is_remote(manifest):
        for folder in Path(manifest).resolve().parents[:4]:
            for found in folder.rglob(parts[-1]):
                return str(found)
    if is_remote(manifest) and not is_remote(file):
        scheme, _, rest = manifest.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}/{file}"
    if is_remote(file):
        return file
    raise InvalidInput(
        f"{manifest} names {parts[-1]}, which is not at {address}; bring the whole delivery", code="no_such_file"
    )
