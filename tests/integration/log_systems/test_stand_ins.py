"""The stand-ins as processes of their own, scripted from outside."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fixtures.serve import free_port
from harmony_agent.core.errors import AgentError
from harmony_agent.logs.systems.http import client_context

ROOT = Path(__file__).parents[3]


@pytest.fixture(params=["splunk", "datadog"])
def by_hand(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, httpx.Client]]:
    """`python -m fixtures.<kind>`, and a client that trusts it."""
    port = free_port()
    command = [sys.executable, "-m", f"fixtures.{request.param}", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--tls-dir", str(tmp_path)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    try:
        with _client(process, port, tmp_path / "ca.pem") as client:
            yield request.param, client
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def _client(process: "subprocess.Popen[bytes]", port: int, bundle: Path) -> httpx.Client:
    deadline = time.monotonic() + 20
    while True:
        try:
            context = client_context(bundle)
            with httpx.Client(base_url=f"https://localhost:{port}", verify=context) as client:
                client.get("/_received")
        except (AgentError, httpx.TransportError):
            assert process.poll() is None, "the stand-in ended"
            assert time.monotonic() < deadline, "the stand-in does not answer"
            time.sleep(0.05)
        else:
            return httpx.Client(base_url=f"https://localhost:{port}", verify=context)


def _deliver(kind: str, client: httpx.Client) -> httpx.Response:
    if kind == "splunk":
        headers = {"Authorization": "Splunk hec-token"}
        body: Any = {"event": {"id": "1"}}
        return client.post("/services/collector/event", json=body, headers=headers)
    headers = {"DD-API-KEY": "dd-api-key"}
    return client.post("/api/v2/logs", json=[{"message": "x"}], headers=headers)


def test_a_stand_in_is_scripted_and_read_over_http(by_hand: tuple[str, httpx.Client]) -> None:
    """Faults come in, what was received goes out, and mistakes in a script are told."""
    kind, client = by_hand
    assert client.post("/_control", json={"nonsense": 1}).status_code == 400
    assert client.post("/_control", json={"fault": {"colour": 1}}).status_code == 400
    client.post("/_control", json={"fault": {"status": 503}})
    assert _deliver(kind, client).status_code == 503
    assert _deliver(kind, client).is_success
    if kind == "splunk":
        client.post("/_control", json={"fail": {"code": 9, "times": 1}})
        assert _deliver(kind, client).json()["code"] == 9
    client.post("/_control", json={"down": True})
    with pytest.raises(httpx.TransportError):
        _deliver(kind, client)
    client.post("/_control", json={"down": False})
    received = client.get("/_received").json()
    assert len(received["events" if kind == "splunk" else "received"]) == 1
