"""The time by which requests are signed: ours, until a server shows that ours is off.

S3 and Azure refuse signatures whose time is more than 15 minutes away from theirs (RequestTime-
TooSkewed in docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html; "Specifying the Date
header" in learn.microsoft.com, "Authorize with Shared Key").
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from harmony_agent.repositories.http.answer import Head

__all__ = ["ServerClock"]

log = logging.getLogger(__name__)

_TOLERATED: Final = timedelta(minutes=5)  # less than any server's limit, more than an answer takes


class ServerClock:
    """UTC as `server` sees it. A node's clock that is off, or that jumps, must not end its work."""

    def __init__(
        self, server: str, *, wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._server = server
        self._wall = wall
        self._ahead = timedelta()  # of the server

    def now(self) -> datetime:
        """The time to sign a request with."""
        return self._wall() + self._ahead

    def corrected(self, answer: Head) -> bool:
        """Whether `answer` refuses a request whose time was off: then `now` goes by the server
        from here on, and the request is worth another attempt."""
        if answer.status != 403:
            return False
        try:
            theirs = parsedate_to_datetime(answer.headers.get("date", ""))
        except ValueError:
            return False
        if theirs.tzinfo is None or abs(theirs - self.now()) < _TOLERATED:
            return False
        self._ahead = theirs - self._wall()
        log.warning(
            "this machine's clock and that of %s differ: requests are signed by the server's time",
            self._server,
            extra={"server_ahead_s": round(self._ahead.total_seconds())},
        )
        return True
