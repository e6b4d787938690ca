"""Packed logs, gzip or zip: known by their first bytes, whatever they are called."""

import errno
import gzip
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

__all__ = ["CannotUnpack", "members", "natural", "unpacked"]

# What the libraries make of numbers in damaged files: places that can't be sought.
_DAMAGE: Final = (None, errno.EINVAL)

# Packed files are unpacked to memory up to this size, to a temporary file beyond it.
_UNPACKED_IN_MEMORY: Final = 8 * 1024 * 1024

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"


class CannotUnpack(Exception):
    """A packed file that is damaged, encrypted, not whole yet, or packed in an unknown way."""


def members(path: Path) -> list[str | None]:
    """The files in a zip, oldest first; `[None]` for what is no zip, or none that can be read
    (yet). Raises OSError."""
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return [None]
        files: list[zipfile.ZipInfo] = []
        with suppress(CannotUnpack), _translated(), zipfile.ZipFile(file) as packed:
            files = [one for one in packed.infolist() if not one.is_dir()]
    files.sort(key=lambda one: (one.date_time, natural(one.filename)))
    return [one.filename for one in files] or [None]


def unpacked(file: BinaryIO, member: str | None, scratch: Path) -> BinaryIO:
    """The content of `file`, of which `member` is one in a zip; `file` itself if it is not packed,
    else it is closed. Large content goes into `scratch`.

    Raises OSError and CannotUnpack.
    """
    magic = file.read(len(_ZIP))
    file.seek(0)
    if magic[:2] == _GZIP:
        with file, _translated(), gzip.GzipFile(fileobj=file) as packed:
            return _spooled(packed, scratch)  # type: ignore[arg-type]  # GzipFile reads like one
    if magic == _ZIP:
        with file, _translated(), zipfile.ZipFile(file) as packed_files:
            if member is None or member not in packed_files.namelist():
                raise CannotUnpack("no file in it, or others than before")
            with packed_files.open(member) as content:
                return _spooled(content, scratch)  # type: ignore[arg-type]  # as above
    return file


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which `log.9` comes before `log.10`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


@contextmanager
def _translated() -> Iterator[None]:
    # Besides their own errors the libraries raise whatever damaged headers lead them into.
    try:
        yield
    except OSError as error:
        if error.errno in _DAMAGE:
            raise CannotUnpack(str(error)) from error
        raise
    except CannotUnpack:
        raise
    except Exception as error:
        raise CannotUnpack(str(error)) from error


def _spooled(packed: BinaryIO, scratch: Path) -> BinaryIO:
    file = tempfile.SpooledTemporaryFile(_UNPACKED_IN_MEMORY, dir=str(scratch))  # noqa: SIM115 - the caller closes it
    spool = cast("BinaryIO", file)
    try:
        shutil.copyfileobj(packed, spool, 256 * 1024)
    except BaseException:
        spool.close()
        raise
    return spool
