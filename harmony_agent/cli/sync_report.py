"""What `sync --once` prints: files by what was, or would be, done with them. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

__all__ = ["report_lines"]

_SHOWN: Final = 50  # files of one kind that are named
_WORDS: Final = {
    "create": "new in the repository",
    "replace": "changed in the repository",
    "delete": "deleted in the repository",
    "overrule": "replaced in the repository, whose version is set aside",
    "retire": "deleted in the repository, its version is set aside",
    "fetch": "new in home",
    "exchange": "changed in home",
    "withdraw": "removed from home, a copy is in the state directory",
    "cede": "replaced in home, its version is in the conflict store",
    "relegate": "removed from home, its version is in the conflict store",
    "adopt": "found equal",
    "forget": "gone on both sides",
    "recall": "found to be this node's own",
    "look": "to be compared by content",
}
_OPEN: Final = {
    "held": "held; nothing is done",
    "failed": "failed; tried again",
    "waiting": "waiting until they are at rest",
    "unconfirmed": "missing in the repository, waiting until that is certain",
}


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Lines for a person; `report` is what `POST /control/sync` answers, one object per side."""
    for side, found in report.items():
        is_plan = "planned" in found
        yield f"{side}: {'would do' if is_plan else 'done'}"
        groups = [
            *((_WORDS.get(act, act), files) for act, files in _acts(found).items()),
            *((words, found[name]) for name, words in _OPEN.items() if found.get(name)),
        ]
        if not groups:
            yield "  nothing: home and repository are in step"
        for words, files in groups:
            yield from _group(words, files)


def _acts(found: Mapping[str, Any]) -> Mapping[str, Any]:
    acts: Mapping[str, Any] = found.get("planned", found.get("done", {}))
    return acts


def _group(words: str, files: list[str] | Mapping[str, str]) -> Iterator[str]:
    """One kind of files; a mapping gives the reason for each."""
    yield f"  {len(files)} {words}:"
    reasons = files if isinstance(files, Mapping) else dict.fromkeys(files, "")
    for path, reason in list(reasons.items())[:_SHOWN]:
        yield f"    {path}: {reason}" if reason else f"    {path}"
    if len(files) > _SHOWN:
        yield f"    and {len(files) - _SHOWN} more"
