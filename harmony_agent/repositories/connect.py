"""From settings to a connector; imports the one in use and no other SDK."""

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model

__all__ = ["connect", "missing_extra"]


@dataclass(frozen=True, slots=True)
class _Kind:
    module: str
    connector: str
    needs: tuple[str, ...] = ()
    """Top-level modules that the package's extra of the same name brings."""


_KINDS: Final = {
    "file": _Kind("file.connector", "FileConnector"),
    "smb": _Kind("smb.connector", "SmbConnector", ("smbclient",)),
    "s3": _Kind("objects.s3", "S3Connector"),
    "azureblob": _Kind("objects.azureblob", "AzureBlobConnector", ("azure.identity",)),
    "gcpbucket": _Kind("objects.gcpbucket", "GcpBucketConnector", ("google.auth",)),
}


def missing_extra(kind: str) -> str | None:
    """The package extra that repository type `kind` needs and that is not installed, or None.

    Looks only; imports no SDK.
    """
    return None if all(_installed(module) for module in _KINDS[kind].needs) else kind


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # a parent package is missing
        return False


def connect(settings: model.Repository, folder: str, *, ca_bundle: Path | None) -> Repository:
    """The connector for `settings`, its root `folder` (`<system>` or `<system>/<host>`) below the
    settings' own root. It is not opened yet.

    `ca_bundle` adds to the authorities that are trusted. Raises Refused if the type's extra is not
    installed.
    """
    if extra := missing_extra(settings.type):
        raise Refused(
            f"repositories of type {settings.type} need more than is installed: "
            f"pip install 'harmony-agent[{extra}]'"
        )
    kind = _KINDS[settings.type]
    module = import_module(f"{__package__}.{kind.module}")
    connector: Repository = getattr(module, kind.connector)(settings, folder, ca_bundle=ca_bundle)
    return connector
