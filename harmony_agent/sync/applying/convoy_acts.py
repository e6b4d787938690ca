"""What is done with a convoy: small files that go the same way, each with a fate of its own."""

from collections.abc import Mapping, Sequence

from harmony_agent.core.errors import AgentError
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.sync.applying.course import Course
from harmony_agent.sync.applying.crossing import crossing
from harmony_agent.sync.applying.outcome import Doubt, Found
from harmony_agent.sync.applying.transfers import Transfers
from harmony_agent.sync.base import Base
from harmony_agent.sync.decisions.plan import Action
from harmony_agent.sync.decisions.policies import Act
from harmony_agent.sync.decisions.states import BaseRow, LocalFile

__all__ = ["ConvoyActs"]

# What home and repository agree on now, or why they don't.
_Agreed = tuple[LocalFile, Token] | Doubt | AgentError


class ConvoyActs:
    """Does with convoys what FileActs does with each of their files."""

    def __init__(self, *, repository: Repository, base: Base, transfers: Transfers) -> None:
        self._repository = repository
        self._base = base
        self._transfers = transfers
        self._acts = {
            Act.CREATE: self._create,
            Act.REPLACE: self._replace,
            Act.FETCH: self._fetch,
            Act.EXCHANGE: self._exchange,
            Act.LOOK: self._look,
        }

    async def carry_out(self, convoy: Sequence[Action], course: Course) -> Sequence[Found]:
        """Do it, and note in one go in the base what is in step; what became of each, in order.

        Raises what befalls all of them: errors of Repository, HomeFiles and Base, GivenUpError.
        """
        agreed = await self._acts[convoy[0].act](convoy, course)
        rows = {
            action.path: BaseRow.of(*each)
            for action, each in zip(convoy, agreed, strict=True)
            if isinstance(each, tuple)
        }
        if rows:
            await self._base.put_all(rows)
        return [None if isinstance(each, tuple) else each for each in agreed]

    async def _create(self, convoy: Sequence[Action], course: Course) -> Sequence[_Agreed]:
        return await self._send(convoy, None, course)

    async def _replace(self, convoy: Sequence[Action], course: Course) -> Sequence[_Agreed]:
        tokens = {action.path: action.remote.token for action in convoy}
        return await self._send(convoy, tokens, course)

    async def _send(
        self, convoy: Sequence[Action], tokens: Mapping[str, Token] | None, course: Course
    ) -> Sequence[_Agreed]:
        files = [(action.path, action.local) for action in convoy]
        new = await self._transfers.send_all(files, tokens, crossing(self._repository, course))
        agreed: list[_Agreed] = []
        for action, token in zip(convoy, new, strict=True):
            if isinstance(token, AgentError):
                agreed.append(token)
            else:
                course.sent += action.local.size
                agreed.append((action.local, token))
        return agreed

    async def _fetch(self, convoy: Sequence[Action], course: Course) -> Sequence[_Agreed]:
        paths = [action.path for action in convoy]
        agreed = await self._transfers.fetch_all(paths, crossing(self._repository, course))
        course.received += sum(each[0].size for each in agreed if isinstance(each, tuple))
        return agreed

    async def _exchange(self, convoy: Sequence[Action], course: Course) -> Sequence[_Agreed]:
        files = [(action.path, action.local, action.is_news) for action in convoy]
        agreed = await self._transfers.exchange_all(files, crossing(self._repository, course))
        course.received += sum(each[0].size for each in agreed if isinstance(each, tuple))
        return agreed

    async def _look(self, convoy: Sequence[Action], course: Course) -> Sequence[_Agreed]:
        paths = [action.path for action in convoy]
        agreed: list[_Agreed] = []
        for remote in await self._transfers.look_all(paths, crossing(self._repository, course)):
            if isinstance(remote, AgentError):
                agreed.append(remote)
            else:
                course.received += remote.size
                agreed.append(Doubt(remote=remote, remote_known=True))
        return agreed
