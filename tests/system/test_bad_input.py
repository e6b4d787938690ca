"""Bad input: every mistake is told in one report, with exit code 78 and no traceback."""

from pathlib import Path
from typing import Any

import pytest

from tests.system.agent_process import Layout, run_command

SECRETS = ("c0de-4711-of-cleo", "hunter2-secret-key")


def refused(layout: Layout, *arguments: str, **environ: str) -> str:
    """What a refused run says on standard error."""
    ended = run_command(layout, *(arguments or ("run",)), **environ)
    assert ended.returncode == 78, ended.stderr
    assert "Traceback" not in ended.stderr
    for secret in SECRETS:
        assert secret not in ended.stderr + ended.stdout
    return ended.stderr


REQUIRED = (
    "cleo-license",
    "cleo-license-verification-code",
    "cleo-config-repo",
    "cleo-runtime-repo",
)
YAML = ("cleo-config-repo", "cleo-runtime-repo", "cleo-log-system", "cleo-system-settings")
ALL = (*REQUIRED, "cleo-log-system", "cleo-system-settings", "cleo-default-admin-password")
BAD_FILES = [
    *((name, b"") for name in ALL),
    *((name, b"\x00\x9f\x92\x96") for name in ALL),
    *((name, b"type: {[hunter2-secret-key") for name in YAML),
    *((name, None) for name in REQUIRED),
]
WORDS = {b"": "empty", b"\x00\x9f\x92\x96": "binary", None: "missing"}


@pytest.mark.parametrize(
    ("name", "content"),
    BAD_FILES,
    ids=[f"{name} {WORDS.get(content, 'wrong YAML')}" for name, content in BAD_FILES],
)
def test_a_bad_secret_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Each of the seven files, empty, binary, of wrong YAML, or missing where it is required."""
    layout = Layout(tmp_path)
    layout.write_secrets()
    path = layout.secrets / name
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    text = refused(layout)
    assert f"{path}: " in text
    assert "1 mistake in the settings" in text


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("type: ftp", "it must be one of file, smb, s3"),
        ("type: s3\nconnectorProperties:\n  bucket: [1, 2]\n", "connectorProperties.bucket"),
        ("type: smb\nconnectorProperties:\n  sharePath: nowhere\n", "//server/share"),
        (
            "type: s3\nconnectorProperties:\n  secretAccessKey: hunter2-secret-key\n  bukket: b\n",
            "connectorProperties.bucket: is missing",
        ),
    ],
)
def test_wrong_types_and_keys_are_told(tmp_path: Path, document: str, words: str) -> None:
    """A wrong type of connector or value names the key and what would be right."""
    layout = Layout(tmp_path)
    layout.write_secrets(cleo_config_repo=document)
    assert words in refused(layout)


def test_directories_that_can_not_be_used_are_told(tmp_path: Path) -> None:
    """A missing home and a state directory below a file are told together."""
    layout = Layout(tmp_path)
    layout.write_secrets()
    (tmp_path / "file").write_text("")
    text = refused(
        layout,
        HARMONY_AGENT_HOME=str(tmp_path / "nowhere"),
        HARMONY_AGENT_STATE_DIR=str(tmp_path / "file" / "state"),
    )
    assert "HARMONY_AGENT_HOME" in text
    assert "HARMONY_AGENT_STATE_DIR" in text
    assert "mount" in text


def test_a_read_only_directory_is_told(tmp_path: Path, read_only: Any) -> None:
    """A home that can't be written is told with the user that needs to."""
    layout = Layout(tmp_path)
    layout.write_secrets()
    with read_only(layout.home):
        text = refused(layout)
    assert f"{layout.home} can't be written: Read-only file system" in text


def test_a_wrong_flag_is_a_usage_error(tmp_path: Path) -> None:
    """An unknown flag ends with 2, click's own code for usage."""
    layout = Layout(tmp_path)
    layout.write_secrets()
    ended = run_command(layout, "run", "--stat-dir", "/x")
    assert ended.returncode == 2
    assert "--state-dir" in ended.stderr


def test_commands_without_a_running_agent_say_so(tmp_path: Path) -> None:
    """`status` and `logs` name the socket nobody answers on, and fail."""
    layout = Layout(tmp_path)
    for command in ("status", "logs"):
        ended = run_command(layout, command)
        assert ended.returncode == 1
        assert "is it running" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_serial_commands_print_what_they_name(tmp_path: Path) -> None:
    """`serial` and `vlproxy-pattern` need no running agent."""
    layout = Layout(tmp_path)
    layout.write_secrets()
    assert run_command(layout, "serial").stdout == "HC1234-ZZ5678-harmony-1\n"
    assert run_command(layout, "vlproxy-pattern").stdout == "HC1234-ZZ5678-.*\n"
    assert run_command(layout, "version").stdout.startswith("harmony-agent 0.")
