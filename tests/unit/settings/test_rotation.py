"""Rotated secrets are noticed, checked and handed on."""

import asyncio
from pathlib import Path

import pytest

from fixtures.samples import write_secrets
from harmony_agent.settings.model import Settings
from harmony_agent.settings.rotation import watch_secrets


async def test_changed_secrets_are_handed_on_and_bad_ones_are_told_and_kept_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad set changes nothing but the log; the next good one is used; the loop beats on."""
    environ = {
        "CLEO_SYSTEM_NAME": "S",
        "CLEO_SECRETS_MOUNT_POINT": str(write_secrets(tmp_path)),
        "HARMONY_AGENT_HOST": "harmony-1",
    }
    handed: asyncio.Queue[Settings] = asyncio.Queue()
    beats: list[int] = []
    watching = asyncio.create_task(
        watch_secrets(
            environ, {}, tmp_path, handed.put, beat=lambda: beats.append(1), interval=0.01
        )
    )
    try:
        async with asyncio.timeout(10):
            while not beats:
                await asyncio.sleep(0)
            write_secrets(tmp_path, cleo_config_repo="type: nonsense")
            while "rotated secrets are not used" not in caplog.text:
                await asyncio.sleep(0.01)
            assert handed.empty()
            write_secrets(tmp_path, cleo_license_verification_code="another-code")
            found = await handed.get()
    finally:
        watching.cancel()
    assert found.license is not None
    assert found.license.verification_code.get_secret_value() == "another-code"
    assert len(beats) > 2
