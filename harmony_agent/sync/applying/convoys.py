"""Which files travel together: small ones. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from harmony_agent.sync.decisions.plan import Action
from harmony_agent.sync.decisions.policies import Act

__all__ = ["convoys"]

_USUAL: Final = 128  # files, for a repository that takes them one by one
# Of a convoy no file is done with before the last one is: a larger file goes by itself.
_SMALL: Final = 256 * 1024  # bytes
_TOGETHER: Final = 4 * 1024 * 1024  # bytes
_JOINING: Final = (Act.CREATE, Act.REPLACE, Act.FETCH, Act.EXCHANGE, Act.LOOK)


def convoys(actions: Iterable[Action], in_one_go: int) -> Iterator[list[Action]]:
    """All of `actions`, of which those that make, replace, fetch or only read small files are
    together: as many as the repository takes `in_one_go`, or if it takes one at a
    time, as many as share threads, waits for the disk and rows of the base well. Every other action
    is alone."""
    most = in_one_go if in_one_go > 1 else _USUAL
    waiting: dict[Act, list[Action]] = {act: [] for act in _JOINING}
    sizes = dict.fromkeys(waiting, 0)
    for action in actions:
        size = action.size
        if action.act not in waiting or max(size, _size_here(action)) > _SMALL:
            yield [action]
            continue
        convoy = waiting[action.act]
        if len(convoy) == most or sizes[action.act] + size > _TOGETHER:
            yield convoy
            convoy = waiting[action.act] = []
            sizes[action.act] = 0
        convoy.append(action)
        sizes[action.act] += size
    yield from (convoy for convoy in waiting.values() if convoy)


def _size_here(action: Action) -> int:
    """Bytes of what is read in home and replaced there."""
    return action.local.size if action.act is Act.EXCHANGE else 0
