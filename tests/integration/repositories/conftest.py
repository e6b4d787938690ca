"""Servers once per run, a connector per test."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fixtures.servers.azurite import Azurite
from fixtures.servers.gcs import Gcs
from fixtures.servers.samba import Samba
from fixtures.servers.seaweedfs import SeaweedFs
from harmony_agent.repositories.interface import Repository
from harmony_agent.settings import model
from harmony_agent.settings.properties import build
from tests.integration.repositories.backends import (
    KINDS,
    Backend,
    azure_settings,
    gcs_settings,
    s3_settings,
    smb_settings,
)


@pytest.fixture(scope="session")
def samba(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    """An SMB server."""
    with Samba(tmp_path_factory.mktemp("samba")) as server:
        yield server


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    """An S3 server that honors conditions."""
    with SeaweedFs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """An Azure Blob Storage server."""
    with Azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gcs]:
    """A Google Cloud Storage server that wants a token."""
    with Gcs(tmp_path_factory.mktemp("gcs"), anonymous=False) as server:
        yield server


def make_backend(kind: str, request: pytest.FixtureRequest, scratch: Path) -> Backend:
    """The backend `kind`, its server started."""
    if kind == "file":
        root = scratch / "volume"
        root.mkdir()

        def file_settings(**changes: Any) -> model.FileRepository:
            return build(model.FileRepository, {"root": str(root)} | changes)

        return Backend(kind, file_settings, None)
    servers: dict[str, tuple[str, Callable[..., model.Repository]]] = {
        "smb": ("samba", smb_settings),
        "s3": ("seaweedfs", s3_settings),
        "azureblob": ("azurite", azure_settings),
        "gcpbucket": ("gcs", gcs_settings),
    }
    fixture, settings = servers[kind]
    server = request.getfixturevalue(fixture)
    return Backend(kind, partial(settings, server), server)


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Each of the five backends in turn."""
    return make_backend(request.param, request, tmp_path)


@pytest.fixture
async def repository(backend: Backend) -> AsyncIterator[Repository]:
    """An opened connector with a folder of its own."""
    connector = backend.connect()
    await connector.open()
    yield connector
    await connector.close()
