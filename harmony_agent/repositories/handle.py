"""The repository as the rest of the agent holds it: counted, guarded, exchangeable."""

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache
from typing import ClassVar, TypeVar

from prometheus_client import Counter, Histogram

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.repositories.breaker import Breaker
from harmony_agent.repositories.interface import Content, Download, Entry, Repository, Token
from harmony_agent.repositories.metrics import BREAKER_OPEN, OPERATIONS, SECONDS

__all__ = ["Handle"]

T = TypeVar("T")

_RESULTS: tuple[tuple[type[BaseException], str], ...] = (
    (asyncio.CancelledError, "canceled"),
    (OutcomeUnknown, "unknown"),
    (Unavailable, "unavailable"),
    (Refused, "refused"),
    (PreconditionFailed, "precondition"),
    (Absent, "absent"),
    (Unsupported, "unsupported"),
)


class _Use:
    """A connector and how many operations are under way on it."""

    def __init__(self, connector: Repository) -> None:
        self.connector = connector
        self._users = 0
        self.idle = asyncio.Event()
        self.idle.set()

    def __enter__(self) -> Repository:
        self._users += 1
        self.idle.clear()
        return self.connector

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users:
            self.idle.set()


class Handle(Repository):
    """Delegates to the present connector. `name` is `config` or `runtime`, for the metrics.

    While the backend is down operations raise Unavailable at once (see Breaker).
    """

    kind: ClassVar[str] = "handle"

    def __init__(
        self, name: str, connector: Repository, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._use = _Use(connector)
        self._clock = clock
        self._breaker = Breaker(clock)
        self._breaker_open = BREAKER_OPEN.labels(name)
        self.conditional_writes = True
        """Whether the backend refuses writes whose condition does not hold, as far as is known."""

    @property
    def folds_case(self) -> bool:
        """See Repository."""
        return self._use.connector.folds_case

    def name_problem(self, path: str) -> str | None:
        """See Repository."""
        return self._use.connector.name_problem(path)

    @property
    def at_once(self) -> int:
        """See Repository."""
        return self._use.connector.at_once

    @property
    def together(self) -> int:
        """See Repository."""
        return self._use.connector.together

    @property
    def location(self) -> str:
        """See Repository."""
        return self._use.connector.location

    def exchange(self, connector: Repository, *, conditional_writes: bool) -> "Handle":
        """Use `connector`, which is open and proven, from now on.

        A handle of what was used until now, to be closed by the caller once it is `idle`.
        """
        old = copy.copy(self)
        self._use = _Use(connector)
        self._breaker = Breaker(self._clock)
        self.conditional_writes = conditional_writes
        return old

    async def idle(self) -> None:
        """Wait until no operation is under way; bounded, since every operation has a limit."""
        await self._use.idle.wait()

    async def open(self) -> None:
        """See Repository."""
        await self._counted("open", lambda connector: connector.open())

    async def close(self) -> None:
        """See Repository."""
        await self._use.connector.close()

    async def list(self, folder: str = "") -> list[Entry]:
        """See Repository."""
        return await self._counted("list", lambda connector: connector.list(folder))

    async def stat(self, path: str) -> Entry | None:
        """See Repository."""
        return await self._counted("stat", lambda connector: connector.stat(path))

    async def read(self, path: str) -> Content:
        """See Repository."""
        return await self._counted("read", lambda connector: connector.read(path))

    @asynccontextmanager
    async def download(self, path: str) -> AsyncIterator[Download]:
        """See Repository. Counted as a whole; only entering it tells of the backend."""
        with self._use as connector:
            stack = AsyncExitStack()
            found = await self._counted(
                "download", lambda _: stack.enter_async_context(connector.download(path))
            )
            async with stack:
                yield found

    async def upload(
        self, path: str, size: int, chunks: AsyncIterator[bytes], token: Token | None
    ) -> Token:
        """See Repository."""
        return await self._counted(
            "upload", lambda connector: connector.upload(path, size, chunks, token)
        )

    async def await_change(self, folder: str, limit: float) -> None:
        """See Repository. Not counted: it moves nothing."""
        with self._use as connector:
            await connector.await_change(folder, limit)

    async def create(self, path: str, data: bytes) -> Token:
        """See Repository."""
        return await self._counted("create", lambda connector: connector.create(path, data))

    async def create_all(self, files: Sequence[tuple[str, bytes]]) -> Sequence[Token | AgentError]:
        """See Repository."""
        return await self._counted(
            "create_all", lambda connector: connector.create_all(files), _each
        )

    async def replace_all(
        self, files: Sequence[tuple[str, bytes, Token]]
    ) -> Sequence[Token | AgentError]:
        """See Repository."""
        return await self._counted(
            "replace_all", lambda connector: connector.replace_all(files), _each
        )

    async def read_all(self, paths: Sequence[str]) -> Sequence[Content | AgentError]:
        """See Repository."""
        return await self._counted("read_all", lambda connector: connector.read_all(paths), _each)

    async def replace(self, path: str, data: bytes, token: Token) -> Token:
        """See Repository."""
        return await self._counted(
            "replace", lambda connector: connector.replace(path, data, token)
        )

    async def delete(self, path: str, token: Token) -> None:
        """See Repository."""
        await self._counted("delete", lambda connector: connector.delete(path, token))

    async def make_folder(self, path: str) -> None:
        """See Repository."""
        await self._counted("make_folder", lambda connector: connector.make_folder(path))

    async def _counted(
        self,
        operation: str,
        call: Callable[[Repository], Awaitable[T]],
        outcomes_of: Callable[[T], Sequence[object]] = lambda value: (value,),
    ) -> T:
        """Do it, and learn from its error, or from each of the outcomes in its answer."""
        breaker = self._breaker
        if (wait := breaker.admit()) is not None:
            OPERATIONS.labels(self._name, operation, "not tried").inc()
            raise Unavailable(
                f"{self.location} does not answer; it is asked again in {wait:.0f} s",
                retry_after=wait,
            )
        begun = self._clock()
        outcomes: Sequence[object] = ()
        try:
            with self._use as connector:
                value = await call(connector)
            outcomes = outcomes_of(value)
            return value
        except BaseException as error:
            outcomes = (error,)
            raise
        finally:
            _tell(breaker, outcomes)
            for outcome in outcomes:
                _counter(self._name, operation, _result(outcome)).inc()
            _seconds(self._name, operation).observe(self._clock() - begun)
            self._breaker_open.set(breaker.is_open)


# To find a counter costs more than to count.
@lru_cache(maxsize=256)
def _counter(name: str, operation: str, result: str) -> Counter:
    return OPERATIONS.labels(name, operation, result)


@lru_cache(maxsize=256)
def _seconds(name: str, operation: str) -> Histogram:
    return SECONDS.labels(name, operation)


def _each(outcomes: Sequence[object]) -> Sequence[object]:
    return outcomes


def _tell(breaker: Breaker, outcomes: Sequence[object]) -> None:
    """Many outcomes of one call count once: as a failure only if nothing was answered."""
    if any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes):
        breaker.abandoned()
    elif outcomes and all(isinstance(outcome, Unavailable) for outcome in outcomes):
        breaker.failed()
    else:
        breaker.succeeded()


def _result(outcome: object) -> str:
    if not isinstance(outcome, BaseException):
        return "ok"
    return next((word for kind, word in _RESULTS if isinstance(outcome, kind)), "error")
