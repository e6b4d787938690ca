"""Notices that mounted secrets were rotated."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from harmony_agent.settings.report import SettingsError
from harmony_agent.settings.secret_files import fingerprint

__all__ = ["watch_secrets"]

log = logging.getLogger(__name__)


async def watch_secrets(
    environ: Mapping[str, str],
    flags: Mapping[str, str],
    secrets_dir: Path,
    on_change: Callable[[Settings], Awaitable[None]],
    *,
    beat: Callable[[], None],
    interval: float = 10.0,
) -> None:
    """For ever: when the secret files' content has changed, load again and hand it on.

    Contents are compared every `interval` seconds. inotify is no help: a watch on a file sees
    only the old one deleted, and network mounts report nothing. Settings with mistakes are told
    and not used; the old ones stay in force.
    """
    known = await asyncio.to_thread(fingerprint, secrets_dir)
    while True:
        beat()
        await asyncio.sleep(interval)
        present = await asyncio.to_thread(fingerprint, secrets_dir)
        if present == known:
            continue
        known = present
        try:
            settings, _ = load(environ, flags)
        except SettingsError as error:
            for mistake in error.mistakes:
                log.error("rotated secrets are not used: %s", mistake)
            continue
        log.info("secrets were rotated")
        await on_change(settings)
