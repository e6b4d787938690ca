"""The server on TCP and on the control socket."""

import asyncio
import os
import signal
import socket
import stat
import time
from pathlib import Path
from typing import Any

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.lifecycle.health import Health
from harmony_agent.web.sockets import bind_tcp
from tests.integration.web.conftest import Run, needs_ipv6, over_socket, over_tcp


async def _echo(arguments: dict[str, Any]) -> dict[str, Any]:
    return {"got": arguments}


async def test_when_start_returns_a_probe_has_its_answer(run: Run) -> None:
    """No wait, no retry: the first request after `start` is answered."""
    async with run() as server, over_tcp(server) as client:
        answer = await client.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok")


async def test_an_answer_does_not_wait_for_the_peers_acknowledgment(run: Run) -> None:
    """Head and body go out at once (TCP_NODELAY): 50 answers take far below two seconds."""
    async with run() as server, over_tcp(server) as client:
        await client.get("/livez")
        begun = time.monotonic()
        for _ in range(50):
            await client.get("/livez")
        assert time.monotonic() - begun < 1


@needs_ipv6
async def test_every_address_means_both_families(run: Run) -> None:
    """One socket answers on IPv4 and IPv6, and a peer by IPv4 still counts as loopback."""
    async with run(("", 0)) as server:
        for host in ("127.0.0.1", "[::1]", "localhost"):
            async with over_tcp(server, host) as client:
                assert (await client.get("/livez")).status_code == 200
                assert (await client.get("/api/status")).status_code == 200


async def test_a_machine_without_ipv6_is_served_by_ipv4(
    monkeypatch: pytest.MonkeyPatch, run: Run
) -> None:
    """A node with IPv6 switched off in the kernel refuses the family: IPv4 alone then."""
    real = socket.socket

    def no_ipv6(family: int = socket.AF_INET, *more: Any, **named: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return real(family, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr("harmony_agent.web.sockets.socket.socket", no_ipv6)
        bound = bind_tcp(("::", 0))
    assert [listener.family for listener in bound] == [socket.AF_INET]
    for listener in bound:
        listener.close()


async def test_a_name_is_bound_on_all_its_addresses(run: Run) -> None:
    """`localhost` answers where it resolves to."""
    async with run(("localhost", 0)) as server, over_tcp(server, "localhost") as client:
        assert (await client.get("/livez")).status_code == 200


async def test_a_port_in_use_is_told_with_what_to_set(run: Run, state_dir: Path) -> None:
    """The second server ends with Refused; the first goes on, and nothing is left behind."""
    other = state_dir / "other"
    other.mkdir()
    async with run() as server:
        with pytest.raises(Refused, match=rf"port {server.port} is taken.*HARMONY_AGENT_BIND"):
            async with run(("127.0.0.1", server.port), other):
                pass
        async with over_tcp(server) as client:
            assert (await client.get("/livez")).status_code == 200
    assert list(other.iterdir()) == []


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
async def test_an_address_of_another_machine_is_told(run: Run, host: str) -> None:
    """An address or name that is not ours ends with Refused and names the setting."""
    with pytest.raises(Refused, match="HARMONY_AGENT_BIND"):
        async with run((host, 0)):
            pass


async def test_commands_are_on_the_control_socket_alone(run: Run, state_dir: Path) -> None:
    """The socket runs them and needs no token; TCP does not know them."""
    async with run(commands={"sync": _echo}, token=lambda: "the-token") as server:
        async with over_socket(state_dir / "agent.sock") as client:
            answer = await client.post("/control/sync", json={"dryRun": True})
            assert answer.json() == {"got": {"dryRun": True}}
            assert (await client.get("/api/status")).status_code == 200
            assert (await client.get("/readyz?verbose")).status_code == 503
        async with over_tcp(server) as client:
            headers = {"Authorization": "Bearer the-token"}
            assert (await client.post("/control/sync", headers=headers)).status_code == 404


async def test_the_control_socket_is_the_owners_alone_and_goes_with_the_server(
    run: Run, state_dir: Path
) -> None:
    """Mode 0600, nothing else in the directory, and no file left at the end."""
    async with run():
        mode = (state_dir / "agent.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600
        assert [path.name for path in state_dir.iterdir()] == ["agent.sock"]
    assert list(state_dir.iterdir()) == []


async def test_a_dead_agents_socket_is_replaced(run: Run, state_dir: Path) -> None:
    """What kill -9 leaves does not keep the next agent from starting, half-made or whole."""
    for name in ("agent.sock", ".agent.new"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(state_dir / name))
    async with run(), over_socket(state_dir / "agent.sock") as client:
        assert (await client.get("/livez")).status_code == 200


async def test_two_agents_never_share_a_state_directory(run: Run, state_dir: Path) -> None:
    """The second is refused while the first answers, and the first keeps its socket."""
    async with run():
        with pytest.raises(Refused, match="another harmony-agent runs with this state directory"):
            async with run():
                pass
        async with over_socket(state_dir / "agent.sock") as client:
            assert (await client.get("/livez")).status_code == 200


async def test_a_socket_that_another_agent_has_put_there_is_left_to_it(
    run: Run, state_dir: Path
) -> None:
    """At its end a server removes its own socket only."""
    async with run():
        (state_dir / "agent.sock").unlink()
        (state_dir / "agent.sock").write_bytes(b"another's")
    assert (state_dir / "agent.sock").read_bytes() == b"another's"


async def test_a_path_too_long_for_a_socket_is_told(run: Run, state_dir: Path) -> None:
    """108 bytes do not fit; 107 do."""
    room = 107 - len(os.fsencode(state_dir / "x" / "agent.sock")) + 1
    fits, too_long = state_dir / ("x" * room), state_dir / ("y" * (room + 1))
    for directory in (fits, too_long):
        directory.mkdir()
    async with run(directory=fits):
        pass
    with pytest.raises(Refused, match=r"107 bytes.*HARMONY_AGENT_STATE_DIR"):
        async with run(directory=too_long):
            pass


async def test_a_missing_state_directory_is_told(run: Run, state_dir: Path) -> None:
    """The message names the socket and the setting."""
    with pytest.raises(Refused, match=r"gone/agent\.sock.*HARMONY_AGENT_STATE_DIR"):
        async with run(directory=state_dir / "gone"):
            pass


async def test_signals_stay_the_agents_own(run: Run) -> None:
    """uvicorn's own handlers would end the agent by signal after a clean stop."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    async with run():
        assert {number: signal.getsignal(number) for number in before} == before


async def test_probes_are_answered_while_the_agent_is_busy(run: Run, health: Health) -> None:
    """With other tasks taking every turn of the loop, a probe stays far below its second."""
    stop = False

    async def busy() -> None:
        while not stop:
            sum(range(2000))
            await asyncio.sleep(0)

    async with run() as server, over_tcp(server) as client:
        tasks = [asyncio.create_task(busy()) for _ in range(50)]
        try:
            answers = [await client.get("/livez", timeout=1.0) for _ in range(5)]
        finally:
            stop = True
            await asyncio.gather(*tasks)
    assert [answer.text for answer in answers] == ["ok"] * 5


async def test_an_answer_under_way_is_finished_at_the_end(run: Run) -> None:
    """`stop` gives a search that is nearly done its moment."""
    asked, release = asyncio.Event(), asyncio.Event()

    async def search(params: Any) -> dict[str, Any]:
        asked.set()
        await release.wait()
        return {"totalResults": 7, "resources": [], "next": None}

    async with asyncio.timeout(30), run(search=search) as server, over_tcp(server) as client:
        answer = asyncio.create_task(client.get("/api/logs"))
        await asked.wait()
        stopping = asyncio.create_task(server.stop())
        await asyncio.sleep(0)
        release.set()
        assert (await answer).json()["totalResults"] == 7
        await stopping


async def test_an_answer_that_would_take_too_long_is_given_up_at_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The asker is told, the work is cancelled, `stop` returns, and no traceback is logged."""
    monkeypatch.setattr("harmony_agent.web.server._END_LIMIT", 0.2)
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def search(params: Any) -> dict[str, Any]:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return {}

    async with asyncio.timeout(30), run(search=search) as server, over_tcp(server) as client:
        answer = asyncio.create_task(client.get("/api/logs"))
        await asked.wait()
        async with asyncio.timeout(5):
            await server.stop()
            assert (await answer).status_code == 503
        assert cancelled.is_set()
    assert "Traceback" not in caplog.text


async def test_every_answer_bears_the_protective_headers(run: Run) -> None:
    """No sniffing, no framing, no referrer; and no name of the server's software."""
    async with run() as server, over_tcp(server) as client:
        for path in ("/", "/api/status", "/livez", "/nothing"):
            headers = (await client.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "date" in headers
            assert "server" not in headers
