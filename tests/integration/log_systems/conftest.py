"""Stand-ins over TLS, and the log systems connected to them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fixtures.datadog import DatadogStandIn
from fixtures.serve import serving
from fixtures.splunk import SplunkStandIn
from fixtures.tls import Certificate, TestAuthority
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import DatadogLogSystem, SplunkLogSystem
from harmony_agent.settings.properties import build


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TestAuthority:
    """A certificate authority of our own."""
    return TestAuthority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def certificate(authority: TestAuthority) -> Certificate:
    """The certificate of all stand-ins: issuing another would replace the file under a server
    that is about to read it."""
    return authority.issue()


@pytest.fixture
def splunk() -> SplunkStandIn:
    """A Splunk that has seen nothing yet."""
    return SplunkStandIn()


@pytest.fixture
def splunk_url(splunk: SplunkStandIn, certificate: Certificate) -> Iterator[str]:
    """Where it listens."""
    with serving(splunk.app, certificate) as url:
        yield url


@pytest.fixture
def splunk_settings(splunk_url: str, authority: TestAuthority) -> SplunkLogSystem:
    """Settings with which everything works."""
    return build(
        SplunkLogSystem,
        {
            "url": splunk_url,
            "token": "hec-token",
            "searchUrl": splunk_url,
            "searchToken": "search-token",
            "caBundle": str(authority.bundle),
        },
    )


@pytest.fixture
async def splunk_system(
    splunk_settings: SplunkLogSystem, tmp_path: Path
) -> AsyncIterator[LogSystem]:
    """The agent's side."""
    system = connect(splunk_settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    yield system
    await system.close()


@pytest.fixture
def datadog() -> DatadogStandIn:
    """A Datadog that has seen nothing yet."""
    return DatadogStandIn()


@pytest.fixture
def datadog_url(datadog: DatadogStandIn, certificate: Certificate) -> Iterator[str]:
    """Where it listens."""
    with serving(datadog.app, certificate) as url:
        yield url


@pytest.fixture
def datadog_settings(datadog_url: str, authority: TestAuthority) -> DatadogLogSystem:
    """Settings with which everything works."""
    return build(
        DatadogLogSystem,
        {
            "apiKey": "dd-api-key",
            "appKey": "dd-app-key",
            "endpoint": datadog_url,
            "searchUrl": datadog_url,
            "caBundle": str(authority.bundle),
            "host": "%hostname%",
        },
    )


@pytest.fixture
async def datadog_system(
    datadog_settings: DatadogLogSystem, tmp_path: Path
) -> AsyncIterator[LogSystem]:
    """The agent's side."""
    system = connect(datadog_settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    yield system
    await system.close()
