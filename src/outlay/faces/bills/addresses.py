"""Files of a bill wherever they lie: a path, a folder, standard input, s3://, or any address that fsspec knows.

What is not local is copied to a file that goes away after it was read: a bill is read once for its digest and once
for its rows, and Parquet is not read from its beginning.
"""

from __future__ import annotations

import importlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from outlay.capture.lines import REJECTS_SUFFIX, files_under
from outlay.errors import InvalidInput, LedgerError, MissingExtra

_S3: Final = "s3://"


def is_remote(address: str) -> bool:
    """Whether an address names something that is not a file of this machine."""
    return "://" in address


def files_at(address: str) -> list[str]:
    """The addresses of the files under a path, folder, bucket prefix or other address, sorted.

    Raises InvalidInput `no_such_file`, `empty_folder` or `unknown_address`, MissingExtra, LedgerError
    `source_unreachable`.
    """
    if not is_remote(address):
        return files_under(address)
    found = _s3_files(address) if address.startswith(_S3) else _other_files(address)
    wanted = sorted(file for file in found if not file.endswith((REJECTS_SUFFIX, "/")))
    if not wanted:
        raise InvalidInput(
            f"nothing lies at {address}; check its spelling and your right to list it", code="no_such_file"
        )
    return wanted


@contextmanager
def local_file(address: str) -> Iterator[Path]:
    """A file of this machine with what lies at an address; a copy goes away at the end."""
    if not is_remote(address):
        yield Path(address)
        return
    name = address.rsplit("/", 1)[-1] or "bill"
    with tempfile.TemporaryDirectory(prefix="outlay-bill-") as folder:
        copy = Path(folder) / name
        if address.startswith(_S3):
            _download_s3(address, copy)
        else:
            _download_other(address, copy)
        yield copy


def _s3_client() -> Any:
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError as error:
        raise MissingExtra("s3:// needs the extra: pip install 'outlay[aws]'") from error
    return boto3.client("s3")


def bucket_and_key(address: str) -> tuple[str, str]:
    """The two parts of an s3:// address. Raises InvalidInput `unknown_address`."""
    bucket, _, key = address.removeprefix(_S3).partition("/")
    if not bucket:
        raise InvalidInput(f"{address} names no bucket; write s3://bucket/prefix", code="unknown_address")
    return bucket, key


@contextmanager
def _told(address: str) -> Iterator[None]:
    """Errors of a far source as one of ours, naming the source."""
    core = importlib.import_module("botocore.exceptions")
    try:
        yield
    except (core.ClientError, core.BotoCoreError) as error:
        raise LedgerError(f"{address} cannot be read: {error}", code="source_unreachable") from error


def _s3_files(address: str) -> list[str]:
    bucket, prefix = bucket_and_key(address)
    client = _s3_client()
    with _told(address):
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [f"{_S3}{bucket}/{item['Key']}" for page in pages for item in page.get("Contents", ())]


def _download_s3(address: str, target: Path) -> None:
    bucket, key = bucket_and_key(address)
    with _told(address):
        _s3_client().download_file(bucket, key, str(target))


def _filesystem(address: str) -> tuple[Any, str]:
    try:
        fsspec = importlib.import_module("fsspec")
        filesystem, path = fsspec.core.url_to_fs(address)
    except ImportError as error:
        raise MissingExtra(f"{address.partition('://')[0]}:// cannot be read: {error}") from error
    except ValueError as error:
        raise InvalidInput(
            f"{address[:80]} is no address that can be read: {error}", code="unknown_address"
        ) from error
    return filesystem, str(path)


def _other_files(address: str) -> list[str]:
    filesystem, path = _filesystem(address)
    try:
        if filesystem.isfile(path):
            return [address]
        return [str(filesystem.unstrip_protocol(found)) for found in filesystem.find(path)]
    except OSError as error:
        raise LedgerError(f"{address} cannot be read: {error}", code="source_unreachable") from error


def _download_other(address: str, target: Path) -> None:
    filesystem, path = _filesystem(address)
    try:
        with filesystem.open(path, "rb") as far, target.open("wb") as near:
            shutil.copyfileobj(far, near, 1 << 20)
    except OSError as error:
        raise LedgerError(f"{address} cannot be read: {error}", code="source_unreachable") from error
