"""What lies between the agent and a log system: proxies, client certificates, load balancers."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.connections import tcp_server
from fixtures.datadog import DatadogStandIn
from fixtures.splunk import SplunkStandIn
from fixtures.tls import Certificate, TestAuthority
from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.logs.query import Query
from harmony_agent.logs.systems.connect import connect
from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings.model import SplunkLogSystem
from harmony_agent.settings.properties import build
from tests.unit.logs_systems.events import make_event, make_events

HEC_ANSWER = b'{"text":"Success","code":0}'


@asynccontextmanager
async def _proxy(seen: list[str]) -> AsyncIterator[str]:
    """A proxy that tunnels CONNECT; the targets that were asked for are added to `seen`."""

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        target = head.split()[1].decode()
        seen.append(target)
        host, _, port = target.rpartition(":")
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    async with tcp_server(tunnel) as port:
        yield f"http://127.0.0.1:{port}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("kind", ["splunk", "datadog"])
async def test_the_environment_s_proxy_is_used(
    kind: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """TLS runs through the tunnel, and is verified at its far end."""
    settings = request.getfixturevalue(f"{kind}_settings")
    seen: list[str] = []
    async with _proxy(seen) as url:
        for name in ("HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, url)
        system = connect(settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
        try:
            assert (await system.send(make_events(1))).acknowledged == 1
            if kind == "datadog":  # splunk-sdk knows no proxies
                await system.search(Query())
        finally:
            await system.close()
    assert len(seen) == (1 if kind == "splunk" else 2)
    assert all(target.startswith("localhost:") for target in seen)


async def test_an_unreachable_proxy_is_told(
    splunk_settings: SplunkLogSystem, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A dead proxy is like a dead network: later, again."""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    system = connect(splunk_settings, node="harmony-1", state_dir=tmp_path, ca_bundle=None)
    try:
        with pytest.raises(Unavailable, match="no connection"):
            await system.send(make_events(1))
    finally:
        await system.close()


async def test_cookies_of_a_load_balancer_are_kept(
    splunk: SplunkStandIn, splunk_system: LogSystem
) -> None:
    """Acknowledgments can only be asked for where the events went."""
    cookie = {"Set-Cookie": "AWSALB=node-7; Path=/"}
    splunk.faults.add(status=503, headers=cookie)
    with pytest.raises(Unavailable):
        await splunk_system.send(make_events(1))
    await splunk_system.send(make_events(1))
    assert splunk.hec.requests[-1]["cookie"] == "AWSALB=node-7"


async def test_a_client_certificate_is_shown_where_it_is_asked_for(
    authority: TestAuthority, certificate: Certificate, tmp_path: Path
) -> None:
    """Mutual TLS with requireClientCert; without one nothing gets through."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split()[0])
        await reader.readexactly(length)
        head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        writer.write(head % len(HEC_ANSWER) + HEC_ANSWER)
        await writer.drain()

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.bundle)
    context.load_cert_chain(certificate.chain_and_key)
    context.verify_mode = ssl.CERT_REQUIRED
    mine = authority.issue("agent.example.com").chain_and_key
    async with tcp_server(answer, context) as port:
        base = {
            "url": f"https://localhost:{port}",
            "token": "hec-token",
            "caBundle": str(authority.bundle),
        }
        shown = build(SplunkLogSystem, {**base, "clientCertificate": str(mine)})
        system = connect(shown, node="n", state_dir=tmp_path, ca_bundle=None)
        assert (await system.send(make_events(1))).acknowledged == 1
        await system.close()
        hidden = build(SplunkLogSystem, base)
        system = connect(hidden, node="n", state_dir=tmp_path, ca_bundle=None)
        # asyncio's server closes without the alert that tells why (see test_http for that).
        with pytest.raises((Refused, Unavailable)):
            await system.send(make_events(1))
        await system.close()


async def test_the_agent_s_own_bundle_is_trusted_too(
    splunk_settings: SplunkLogSystem, authority: TestAuthority, tmp_path: Path
) -> None:
    """HARMONY_AGENT_CA_BUNDLE holds for every TLS client, delivery and retrieval."""
    settings = replace(splunk_settings, ca_bundle=None)
    system = connect(settings, node="n", state_dir=tmp_path, ca_bundle=authority.bundle)
    try:
        assert (await system.send(make_events(1))).acknowledged == 1
        assert (await system.search(Query())).total == 1
    finally:
        await system.close()


async def test_both_systems_take_a_whole_batch_at_their_limits(
    splunk_system: LogSystem, datadog_system: LogSystem, datadog: DatadogStandIn
) -> None:
    """What the limits promise goes through in one request."""
    for system in (splunk_system, datadog_system):
        size = system.limits.size // system.limits.entries - 900
        events = [make_event(n, message="x" * max(size, 1)) for n in range(system.limits.entries)]
        assert (await system.send(events)).acknowledged == system.limits.entries
    assert len(datadog.requests) == 1
