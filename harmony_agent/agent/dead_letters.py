"""What `harmony-agent dead-letters` asks of the running agent."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from harmony_agent.logs.event import format_time
from harmony_agent.logs.pipeline.dead_letters import Kept
from harmony_agent.logs.query import QueryError
from harmony_agent.logs.stream import LogStream

__all__ = ["answer"]

_MOST_LISTED: Final = 10_000
_ID: Final = re.compile(r"[0-9a-f]{32}")


async def answer(stream: LogStream, action: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Do `action`: `list`, `show`, `resend` or `remove`.

    `list` takes `count`, the others take `ids` or, but for `show`, `all`. Raises QueryError if
    the arguments are wrong, and what LogStream.resend raises.
    """
    letters = stream.dead_letters
    match action:
        case "list":
            kept = await letters.newest(_count(arguments))
            return {"total": letters.count, "letters": [_line(one) for one in kept]}
        case "show":
            kept = await letters.find(_ids(arguments))
            return {"letters": [{**_head(one), "event": one.event.to_json()} for one in kept]}
        case "resend":
            resent = await stream.resend(await _chosen(stream, arguments))
            refused = [{"id": one.event.id, "reason": one.reason} for one in resent.refused]
            return {"taken": resent.taken, "refused": refused}
        case "remove":
            return {"removed": await letters.remove(await _chosen(stream, arguments))}
        case _:
            raise QueryError(f"dead letters can't be asked to {action}")


async def _chosen(stream: LogStream, arguments: Mapping[str, Any]) -> list[str]:
    if arguments.get("all") is True:
        return await stream.dead_letters.ids()
    return _ids(arguments)


def _ids(arguments: Mapping[str, Any]) -> list[str]:
    ids = arguments.get("ids")
    if not isinstance(ids, list) or not ids:
        raise QueryError("name at least one event by its id, as `dead-letters list` shows it")
    for one in ids:
        if not isinstance(one, str) or not _ID.fullmatch(one):
            raise QueryError(f"{one!r} is no event's id: 32 hexadecimal digits")
    return ids


def _count(arguments: Mapping[str, Any]) -> int:
    count = arguments.get("count", 100)
    if type(count) is not int or not 0 < count <= _MOST_LISTED:
        raise QueryError(f"count must be from 1 to {_MOST_LISTED}")
    return count


def _head(one: Kept) -> dict[str, Any]:
    kept = format_time(datetime.fromtimestamp(one.kept, UTC))
    return {"id": one.event.id, "kept": kept, "reason": one.reason}


def _line(one: Kept) -> dict[str, Any]:
    event = one.event.to_json()
    return {**_head(one), **{key: event[key] for key in ("time", "node", "severity", "element")}}
