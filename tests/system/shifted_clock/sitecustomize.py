"""Shifts the wall clock of a Python process, and nothing else: its folder goes into PYTHONPATH.

By how many seconds stands in the file that SHIFTED_CLOCK names, which is read again and again: the
clock of a running process can be turned. Monotonic clocks and the times of files stay as they are.
"""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

_FILE = Path(os.environ["SHIFTED_CLOCK"])
_time = time.time
_datetime = dt.datetime


def _shift() -> float:
    return float(_FILE.read_text() or 0)


class _Type(type):
    """To `isinstance` all datetimes are alike."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _datetime)


class _Shifted(dt.datetime, metaclass=_Type):
    """Makes plain datetimes; those of `now` are shifted."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _datetime.now(tz) + dt.timedelta(seconds=_shift())

    @classmethod
    def fromtimestamp(cls, *args: Any) -> Any:
        return _datetime.fromtimestamp(*args)

    @classmethod
    def fromisoformat(cls, text: str) -> Any:
        return _datetime.fromisoformat(text)


time.time = lambda: _time() + _shift()
time.time_ns = lambda: int(time.time() * 1e9)
dt.datetime = _Shifted  # type: ignore[misc]  # that is the point
