"""Packed logs, gzip or zip: known by their first bytes, whatever they are called."""

import gzip
import re
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

__all__ = ["CANNOT_UNPACK", "members", "natural", "unpacked"]

# RuntimeError: a zip that is encrypted, or packed in a way that Python does not know.
CANNOT_UNPACK: Final = (zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, RuntimeError)

# Packed files are unpacked to memory up to this size, to a temporary file beyond it.
_UNPACKED_IN_MEMORY: Final = 8 * 1024 * 1024

_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"


def members(path: Path) -> list[str | None]:
    """The files in a zip, oldest first; `[None]` for what is no zip, or none that can be read
    (yet). Raises OSError."""
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return [None]
        try:
            with zipfile.ZipFile(file) as packed:
                files = [one for one in packed.infolist() if not one.is_dir()]
        except CANNOT_UNPACK:
            return [None]
    files.sort(key=lambda one: (one.date_time, natural(one.filename)))
    return [one.filename for one in files] or [None]


def unpacked(file: BinaryIO, member: str | None, scratch: Path) -> BinaryIO:
    """The content of `file`, of which `member` is one in a zip; `file` itself if it is not packed,
    else it is closed. Large content goes into `scratch`.

    Raises OSError, and one of CANNOT_UNPACK.
    """
    magic = file.read(len(_ZIP))
    file.seek(0)
    if magic[:2] == _GZIP:
        with file, gzip.GzipFile(fileobj=file) as packed:
            return _spooled(packed, scratch)  # type: ignore[arg-type]  # GzipFile reads like one
    if magic == _ZIP:
        with file, zipfile.ZipFile(file) as packed_files:
            if member is None or member not in packed_files.namelist():
                raise zipfile.BadZipFile("no file in it, or others than before")
            with packed_files.open(member) as content:
                return _spooled(content, scratch)  # type: ignore[arg-type]  # as above
    return file


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which `log.9` comes before `log.10`."""
    return [(int(part), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", name)]


def _spooled(packed: BinaryIO, scratch: Path) -> BinaryIO:
    file = tempfile.SpooledTemporaryFile(_UNPACKED_IN_MEMORY, dir=str(scratch))  # noqa: SIM115 - the caller closes it
    spool = cast("BinaryIO", file)
    try:
        shutil.copyfileobj(packed, spool, 256 * 1024)
    except BaseException:
        spool.close()
        raise
    return spool
