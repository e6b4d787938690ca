"""SIGTERM and SIGINT in one place: the first asks for the end, the second ends at once."""

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["stop_on_signals"]

log = logging.getLogger(__name__)


@contextmanager
def stop_on_signals() -> Iterator[asyncio.Event]:
    """Yields an event that the first SIGTERM or SIGINT sets; handlers are restored at the end."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("second %s: ending at once", number.name)
            os._exit(128 + number)
        log.info("%s: draining", number.name)
        stop.set()

    watched = (signal.SIGTERM, signal.SIGINT)
    for number in watched:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in watched:
            loop.remove_signal_handler(number)
