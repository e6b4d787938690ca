"""Which files below Harmony's home belong to which repository. Pure: names in, answers out.

The tables are the rows "shared" and "runtime" of what is known about Harmony's installation
directory; HARMONY_AGENT_CONFIG_EXTRA and HARMONY_AGENT_RUNTIME_EXTRA add patterns to them.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from harmony_agent.core.durable import is_temporary
from harmony_agent.core.errors import Refused
from harmony_agent.repositories.layout import CONTROL

__all__ = ["Ownership", "configuration", "name_problem", "runtime", "twins"]

_CONFIGURATION: Final = (
    "hosts/*.xml",
    *(
        f"conf/{name}.xml"
        for name in (
            "Options",
            "Proxies",
            "Schedule",
            "TradingPartners",
            "AS400",
            "WinUnixFolders",
            "ipbl",
            "Route",
            "Router",
            "Users",
        )
    ),
    "certs/**",
    "data/**",
    "importedIDPs/*.xml",
)
# Raw copies in AS2/received and AS2/sent grow without limit: only by HARMONY_AGENT_RUNTIME_EXTRA.
_RUNTIME: Final = (
    "AS2/data/**",
    "AS2/mdn/**",
    "AS2/restart/**",
    "AS3/data/AS3msgs.txt",
    "AS3/mdn/**",
    "AS3/unsent/**",
    "AS4/receipt/**",
    "OFTP/eerp/**",
    "OFTP/restart/**",
    "RNIF/ack/**",
    "SMTP/dsn/**",
    "ebXML/ack/**",
)
# No pattern reaches these. Harmony executes what it finds in autorun; the rest is code, logs and
# what belongs to one installation.
_NEVER_FOLDERS: Final = frozenset(
    {CONTROL, ".license", "autorun", "jre", "lib", "logs", "temp", "webserver"}
)
_NEVER_FILES: Final = frozenset({"license_key.txt", "conf/sync.xml", "conf/system.properties"})
# Payload is one node's own work: sharing it between nodes would process it twice.
_PAYLOAD: Final = frozenset({"inbox", "outbox", "rejectbox", "lostandfound"})

_WILDCARDS: Final = {"*": "[^/]*", "?": "[^/]"}
_RELATIVE: Final = frozenset({"", ".", ".."})
_LONGEST_PATH: Final = (
    900  # bytes; keys of S3 and Google end at 1,024, with root and set-aside folder
)
_LONGEST_NAME: Final = 255 - 40  # bytes; leaves room for suffixes of set-aside copies


def name_problem(path: str) -> str | None:
    """Why no repository or home can safely hold a file of this name; None if all can."""
    names = path.split("/")
    if not _RELATIVE.isdisjoint(names):
        return "the path has empty or relative parts"
    if len(path) <= _LONGEST_NAME and path.isascii() and path.isprintable():
        return None  # as nearly all are; what follows takes its time
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in path):
        return "the name has control characters or is not UTF-8: rename it"
    if len(path.encode()) > _LONGEST_PATH or max(len(n.encode()) for n in names) > _LONGEST_NAME:
        return "the name is too long: shorten it"
    return None


@dataclass(frozen=True, slots=True)
class _Pattern:
    """`*` and `?` stay within a name, `**` spans folders; a plain name stands for a file or for a
    whole folder."""

    parts: tuple[str, ...]

    @property
    def is_plain(self) -> bool:
        return not any(_has_wildcard(part) for part in self.parts)

    def expression(self) -> str:
        if self.is_plain:
            return re.escape("/".join(self.parts)) + "(?:/.+)?"
        *folders, last = self.parts
        above = (
            "(?:[^/]+/)*" if part == "**" else _name_expression(part) + "/" for part in folders
        )
        return "".join(above) + (".+" if last == "**" else _name_expression(last))

    def may_lie_below(self, folder: tuple[str, ...]) -> bool:
        """Whether something below `folder` can match."""
        for name, part in zip(folder, self.parts, strict=False):
            if part == "**":
                return True
            if not re.fullmatch(_name_expression(part), name, re.DOTALL):
                return False
        return len(folder) < len(self.parts) or self.is_plain


def _has_wildcard(part: str) -> bool:
    return "*" in part or "?" in part


def _name_expression(part: str) -> str:
    """Brackets are ordinary characters: Harmony's own names hold them."""
    return "".join(_WILDCARDS.get(character) or re.escape(character) for character in part)


def _parse(text: str, setting: str) -> _Pattern:
    cleaned = text.replace("\\", "/").removesuffix("/")
    parts = tuple(part for part in cleaned.split("/") if part != ".")
    if cleaned.startswith("/") or not parts or ".." in parts or "" in parts:
        raise Refused(f"{setting}: {text!r} must be a pattern below Harmony's home, like reports/*")
    if any("**" in part and part != "**" for part in parts):
        raise Refused(f"{setting}: in {text!r}, ** must stand alone between slashes")
    if parts == ("**",) or (len(parts) > 1 and _has_wildcard(parts[0])):
        # Node folders may lie beside the configuration's: a wildcard would reach into them.
        raise Refused(f"{setting}: {text!r} must begin with a folder's name without wildcards")
    return _Pattern(parts)


class Ownership:
    """The set of paths that one side (configuration or runtime) keeps in step."""

    def __init__(
        self,
        patterns: Iterable[_Pattern],
        never: frozenset[str],
        without: "Ownership | None" = None,
    ) -> None:
        self._patterns = tuple(patterns)
        self._never = never
        self._without = without
        self._expression = re.compile("|".join(p.expression() for p in self._patterns), re.DOTALL)

    def owns(self, path: str) -> bool:
        """Whether the file `path` (relative, with slashes) belongs to this side."""
        first, _, _ = path.partition("/")
        return (
            self._expression.fullmatch(path) is not None
            and first.casefold() not in self._never
            and path.casefold() not in _NEVER_FILES
            and not _is_residue(path)
            and not (self._without is not None and self._without.owns(path))
        )

    def descends(self, folder: str) -> bool:
        """Whether files of this side may lie somewhere below `folder` ('': the top, always)."""
        if not folder:
            return True
        parts = tuple(folder.split("/"))
        return parts[0].casefold() not in self._never and any(
            pattern.may_lie_below(parts) for pattern in self._patterns
        )

    def concerns(self, path: str) -> bool:
        """Whether a change at `path`, a file or a folder, can concern this side."""
        return self.owns(path) or self.descends(path)

    def folders(self) -> list[str]:
        """The top folders to list in a repository; [''] if files of its top belong to this side."""
        if any(len(pattern.parts) == 1 for pattern in self._patterns):
            return [""]
        return sorted({pattern.parts[0] for pattern in self._patterns})


def _is_residue(path: str) -> bool:
    """Our own temporary files, and what NFS leaves for a deleted file that is still open."""
    name = path.rpartition("/")[2]
    return is_temporary(name) or name.startswith(".nfs")


def configuration(extra: Iterable[str] = ()) -> Ownership:
    """What all nodes share. Raises Refused for a pattern that can't be used."""
    added = [_parse(text, "HARMONY_AGENT_CONFIG_EXTRA") for text in extra]
    fixed = [_Pattern(tuple(text.split("/"))) for text in _CONFIGURATION]
    return Ownership([*fixed, *added], _NEVER_FOLDERS | _PAYLOAD)


def runtime(extra: Iterable[str] = (), *, shared: Ownership | None = None) -> Ownership:
    """What belongs to this host alone; a path that is `shared` is not mirrored as well.

    Raises Refused for a pattern that can't be used.
    """
    added = [_parse(text, "HARMONY_AGENT_RUNTIME_EXTRA") for text in extra]
    fixed = [_Pattern(tuple(text.split("/"))) for text in _RUNTIME]
    return Ownership([*fixed, *added], _NEVER_FOLDERS, shared)


def twins(new: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Those of `new` that differ from another name only in case or in how letters are composed,
    with that name: one of `known` (which is there first), else the first of `new` by the alphabet.
    """
    taken = {_folded(path): path for path in known}
    found = {}
    for path in sorted(new):
        other = taken.setdefault(_folded(path), path)
        if other != path:
            found[path] = other
    return found


def _folded(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
