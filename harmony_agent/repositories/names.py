"""Which names a repository can hold; checked before anything is sent.

Some backends change a forbidden name silently (SMB lists a mangled 8.3 name, Azure turns a
backslash into a slash), so two files could become one: such names are refused here.
"""

import re
from pathlib import PurePosixPath
from typing import Final

from harmony_agent.core.errors import Unsupported

__all__ = ["check_azure", "check_path", "check_smb", "parents"]

_LONGEST_SEGMENT: Final = 255  # bytes; NAME_MAX of Linux file systems
_LONGEST_PATH: Final = 900  # bytes; leaves room for a root below the 1,024 of S3, Azure and GCS
_UNCLEAN: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")  # a part that is empty, `.` or `..`
# S3's listing is XML 1.0, which can't carry control characters.
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# learn.microsoft.com, "Naming Files, Paths, and Namespaces".
_SMB_FORBIDDEN: Final = re.compile(r'[<>:"|?*\\]')
_SMB_DEVICES: Final = re.compile(r"(?i)^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)")


def check_path(path: str) -> None:
    """Raise Unsupported unless every backend with plain names can hold `path`."""
    if not path:
        raise Unsupported("an empty name is no file")
    if _CONTROL.search(path):
        raise Unsupported(f"{path!r} contains control or invalid characters")
    if _UNCLEAN.search(path):
        raise Unsupported(f"{path!r} is no clean relative path")
    size = len(path.encode())
    if size > _LONGEST_PATH:
        raise Unsupported(f"{path!r} is longer than {_LONGEST_PATH} bytes")
    if size > _LONGEST_SEGMENT and any(
        len(segment.encode()) > _LONGEST_SEGMENT for segment in path.split("/")
    ):
        raise Unsupported(f"{path!r} has a part longer than {_LONGEST_SEGMENT} bytes")


def check_smb(path: str) -> None:
    """Raise Unsupported for names that Windows and Samba refuse or mangle."""
    check_path(path)
    for segment in path.split("/"):
        if _SMB_FORBIDDEN.search(segment):
            raise Unsupported(f"{path!r} contains one of < > : \" | ? * \\, which SMB can't hold")
        if segment.endswith((".", " ")):
            raise Unsupported(f"{path!r} has a part that ends in a dot or blank, which SMB drops")
        if _SMB_DEVICES.match(segment):
            raise Unsupported(f"{path!r} has a part that is a device name on Windows")


def check_azure(path: str) -> None:
    """Raise Unsupported for names that Azure changes (learn.microsoft.com, "Naming and
    Referencing Containers, Blobs, and Metadata")."""
    check_path(path)
    if "\\" in path:
        raise Unsupported(f"{path!r} contains a backslash, which Azure turns into a slash")
    if any(segment.endswith(".") for segment in path.split("/")):
        raise Unsupported(f"{path!r} has a part that ends in a dot, which Azure may drop")


def parents(path: str) -> list[str]:
    """The folders above `path` and `path` itself, outermost first: `a/b` gives `a`, `a/b`."""
    above = [str(parent) for parent in PurePosixPath(path).parents][:-1]
    return [*reversed(above), path]
