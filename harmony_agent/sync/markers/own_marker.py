"""Our own change marker: written after its data, at once when it was quiet, then coalesced."""

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Final

from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed, Unavailable
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.repositories.layout import MARKERS
from harmony_agent.sync.errands import Retry
from harmony_agent.sync.markers.marker import Marker

__all__ = ["OwnMarker"]

log = logging.getLogger(__name__)

_APART: Final = 2.0  # seconds between two writes; stores slow down writes to one object
_ATTEMPTS: Final = 3


class OwnMarker:
    """Tells the other nodes what this one writes into `repository`. Not reentrant.

    What is told may be told twice (after an answer that was lost), which does no harm; if it can't
    be told for certain, a new epoch has the others look at everything. Nobody else should write
    this object; who does (an agent with the same host name, a person) is found out by its token.
    """

    def __init__(self, repository: Repository, host: str, *, clock: Callable[[], float]) -> None:
        """`clock` is in seconds and never goes back."""
        self.path: Final = f"{MARKERS}/{host}"
        self._repository = repository
        self._clock = clock
        self._retry = Retry(clock)
        self._marker: Marker | None = None  # what is stored, as far as we know; None: not known
        self._token: Token | None = None  # of what is stored; None: nothing is
        self._is_certain = False  # whether these two can be relied on
        self._sent: set[str] = set()  # nonces: no answer came, may be stored by now
        self._untold: dict[str, bool] = {}
        self._is_new = True  # what is to be written tells more than its changes
        self._day = 0  # until which it should say that we are there
        self._may_go_on = True  # with the epoch: all that was written is, or will be, told
        self._earliest = clock()
        self.trouble: str | None = None

    @property
    def day(self) -> int:
        """The day that it carries, as far as is known."""
        return 0 if self._marker is None else self._marker.day

    @property
    def due(self) -> float | None:
        """When to call `publish`, by the clock; None while there is nothing to tell."""
        is_told = not self._untold and not self._is_new and self.day >= self._day
        if self._is_certain and is_told and self._may_go_on:
            return None
        return max(self._earliest, self._retry.at or self._earliest)

    def tell(self, written: Mapping[str, bool]) -> None:
        """These paths were changed in the repository (True: deleted)."""
        for path, deleted in written.items():
            self._untold.pop(path, None)  # the latest comes last
            self._untold[path] = deleted

    def lost_track(self) -> None:
        """Something may have been written that nobody will `tell`."""
        self._may_go_on = False

    def renew(self, day: int) -> None:
        """Say that we are there on this day."""
        self._day = max(self._day, day)

    def saw(self, token: Token | None) -> None:
        """A listing shows our marker in this version (None: not at all)."""
        if token != self._token:
            self._is_certain = False  # the listing may also be older than our last write

    async def publish(self, *, closed: bool = False) -> None:
        """Write the marker; with `closed` as the last one of this process.

        Raises the repository's errors; what could not be told stays to be told.
        """
        try:
            await self._publish(closed)
        except AgentError as error:
            self._retry.failed(error)
            self.trouble = str(error)
            raise
        self._retry.succeeded()
        self.trouble = None

    async def _publish(self, closed: bool) -> None:
        for _ in range(_ATTEMPTS):
            marker = await self._stored()
            if not self._may_go_on:
                marker, self._is_new = _begin(), True
            is_told = not self._untold and not self._is_new and marker.day >= self._day
            if is_told and closed == marker.closed:
                return  # as the look has shown
            try:
                await self._write(
                    marker.telling(self._untold, _nonce(), closed=closed, day=self._day)
                )
            except PreconditionFailed:
                continue
            return
        raise Unavailable(f"the change marker {self.path} changes faster than it can be written")

    async def _write(self, marker: Marker) -> None:
        self._is_certain = False
        self._sent.add(marker.nonce)
        data = marker.to_bytes()
        if self._token is None:
            token = await self._repository.create(self.path, data)
        else:
            token = await self._repository.replace(self.path, data, self._token)
        self._marker, self._token = marker, token
        self._is_certain, self._is_new, self._may_go_on = True, False, True
        self._sent.clear()
        self._untold.clear()
        self._earliest = self._clock() + _APART

    async def _stored(self) -> Marker:
        """The marker to go on from; if need be, look which that is."""
        if self._marker is not None and self._is_certain:
            return self._marker
        try:
            content = await self._repository.read(self.path)
        except Absent:
            found, self._token = None, None
        else:
            found, self._token = Marker.from_bytes(content.data), content.token
        self._marker = self._following(found)
        self._is_certain = True
        return self._marker

    def _following(self, found: Marker | None) -> Marker:
        """What follows on `found`, which is stored or can't be read."""
        ours = self._marker
        if found is not None and found.nonce in self._sent:
            return found  # the answer was lost
        if ours is not None and found is not None and found.nonce == ours.nonce:
            return ours
        self._is_new = True
        if ours is None:  # a new process: what an earlier one closed goes on, to be open from now
            return found if found is not None and found.closed else _begin()
        if self._token is None:
            log.info("our change marker is gone and is written again", extra={"marker": self.path})
            # What was sent without an answer may have been read before it went: going on from the
            # marker before it, its number would stand for other changes.
            return _begin() if self._sent else ours
        log.warning(
            "somebody else wrote our change marker %s; if another node bears this name, give each "
            "its own HARMONY_AGENT_HOST",
            self.path,
        )
        return _begin()


def _begin() -> Marker:
    return Marker.begin(secrets.token_hex(16), _nonce())


def _nonce() -> str:
    return secrets.token_hex(8)
