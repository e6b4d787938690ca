"""The stand-ins for Splunk and Datadog in their own processes, and the stream to them."""

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from fixtures.serve import free_port

__all__ = ["Receiver", "receiving", "streaming"]

_COUNT: Final = {"splunk": "events", "datadog": "received"}


@dataclass(frozen=True, slots=True)
class Receiver:
    """A stand-in in a process of its own, reached over TLS."""

    kind: str
    url: str
    ca: Path

    def settings(self) -> dict[str, Any]:
        """The properties of a log system that delivers to it."""
        if self.kind == "splunk":
            return {"url": self.url, "token": "hec-token"}
        return {"apiKey": "dd-api-key", "endpoint": self.url}

    def control(self, **script: Any) -> dict[str, Any]:
        """Script it (see the stand-in's `/_control`); what it answers."""
        context = ssl.create_default_context(cafile=str(self.ca))
        answer = httpx.post(
            f"{self.url}/_control", json=script, verify=context, trust_env=False, timeout=60
        )
        answer.raise_for_status()
        result: dict[str, Any] = answer.json()
        return result

    def count(self) -> int:
        """How many events it has taken."""
        return int(self.control()[_COUNT[self.kind]])


@contextmanager
def receiving(kind: str, directory: Path) -> Iterator[Receiver]:
    """The stand-in `kind` while the block runs; certificates below `directory`."""
    port = free_port()
    tls = directory / f"{kind}-tls"
    command = [sys.executable, "-m", f"fixtures.{kind}", "--port", str(port), "--tls-dir", str(tls)]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdout=nowhere, stderr=nowhere) as process:
        receiver = Receiver(kind, f"https://localhost:{port}", tls / "ca.pem")
        try:
            _await_answer(receiver, process)
            yield receiver
        finally:
            process.kill()


def _await_answer(receiver: Receiver, process: "subprocess.Popen[bytes]") -> None:
    while process.poll() is None:
        try:
            receiver.count()
        except (httpx.TransportError, OSError):
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"the stand-in for {receiver.kind} ended with {process.returncode}")


@contextmanager
def streaming(
    receiver: Receiver, home: Path, state_dir: Path, *, until: int = 0, volume: Path | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """The agent's log stream from `home` to `receiver`, parking below `volume` if that is given;
    its standard output tells the result."""
    state_dir.mkdir(parents=True)
    options = state_dir / "benchmark.json"
    told = {
        "system": receiver.kind,
        "settings": receiver.settings(),
        "ca": str(receiver.ca),
        "until": until,
        "volume": str(volume) if volume else None,
    }
    options.write_text(json.dumps(told))
    command = [
        sys.executable,
        "-m",
        "benchmarks.streaming",
        str(home),
        str(state_dir),
        str(options),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    with process:
        try:
            yield process
        finally:
            process.kill()
