"""Harmony's local times without a zone, as moments in UTC."""

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

__all__ = ["LocalTime"]

# Threads write a little out of order; a step back beyond this is the hour that comes twice.
_OUT_OF_ORDER: Final = timedelta(seconds=60)


class LocalTime:
    """Reads `yyyy/MM/dd HH:mm:ss` in Harmony's zone; without a zone in the process's own (`TZ`)."""

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone

    def to_utc(self, date: str, last: datetime | None) -> datetime | None:
        """The moment in UTC, None if `date` is not one.

        When clocks are set back an hour comes twice. Of the two moments it is the first, unless
        that lies before `last` (the moment of the event before): a log never goes back in time.
        """
        try:
            local = datetime(
                int(date[0:4]),
                int(date[5:7]),
                int(date[8:10]),
                int(date[11:13]),
                int(date[14:16]),
                int(date[17:19]),
                tzinfo=self._zone,
            )
            first = local.astimezone(UTC)
            if last is None or first >= last - _OUT_OF_ORDER:
                return first
            second = local.replace(fold=1).astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return max(first, second)  # equal but for the hour that comes twice; a gap has first later
