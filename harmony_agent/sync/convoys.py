"""Which files travel together: small ones, as many as the repository takes in one go. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from harmony_agent.sync.plan import Action
from harmony_agent.sync.policies import Act

__all__ = ["convoys"]

# Of a convoy no file is done with before the last one is: a larger file goes by itself.
_SMALL: Final = 256 * 1024  # bytes
_TOGETHER: Final = 4 * 1024 * 1024  # bytes
_JOINING: Final = (Act.CREATE, Act.REPLACE, Act.FETCH, Act.LOOK)


def convoys(actions: Iterable[Action], most: int) -> Iterator[list[Action]]:
    """All of `actions`, of which up to `most` that make, replace (in the repository), fetch or
    only read small files are together; every other action is alone."""
    waiting: dict[Act, list[Action]] = {act: [] for act in _JOINING}
    sizes = dict.fromkeys(waiting, 0)
    for action in actions:
        size = action.size
        if action.act not in waiting or size > _SMALL or most == 1:
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
