"""Only the connector in use is imported, and a missing extra is named."""

import importlib.util
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.connect import connect, missing_extra
from harmony_agent.settings import model
from harmony_agent.settings.secret import SecretStr

_SDKS = ("azure.identity", "google.auth", "smbclient", "harmony_agent.repositories.http.client")


def test_a_file_repository_imports_no_sdk() -> None:
    """Memory is paid for in every pod."""
    code = f"""
import sys
from pathlib import PurePosixPath
from harmony_agent.repositories.connect import connect, missing_extra
from harmony_agent.settings import model
connect(model.FileRepository(root=PurePosixPath("/")), "S", ca_bundle=None)
for kind in ("file", "smb", "s3", "azureblob", "gcpbucket"):
    missing_extra(kind)
print([name for name in {_SDKS!r} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The message is a command that helps."""
    found = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "smbclient" else found(name, package)

    monkeypatch.setattr("harmony_agent.repositories.connect.find_spec", without)
    assert missing_extra("smb") == "smb"
    assert missing_extra("file") is None
    settings = model.SmbRepository(
        server="s", share="d", user="user", password=SecretStr("password")
    )
    with pytest.raises(Refused, match=r"pip install 'harmony-agent\[smb\]'"):
        connect(settings, "S", ca_bundle=None)


def test_a_missing_parent_package_counts_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`azure` itself is not there without the extra."""

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("harmony_agent.repositories.connect.find_spec", without)
    assert missing_extra("azureblob") == "azureblob"
