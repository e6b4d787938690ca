"""A shipper in wide use as the peer: syslog-ng (Debian's syslog-ng-core and syslog-ng-mod-http)
reads the same events as JSON lines and posts them to the same HEC stand-in over TLS.

It finds no events in a rewritten XML file and keeps no ids; it is the bound of what a C program
takes for reading lines and posting batches.
"""

import os
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.receivers import Receiver

__all__ = ["is_installed", "ship"]

_TICK = os.sysconf("SC_CLK_TCK")
_CONFIGURATION = """@version: 3.35
options { stats-freq(0); };
source lines { file("%(lines)s" flags(no-parse) log-msg-size(65536) log-iw-size(20000)
    log-fetch-limit(1000) read-old-records(yes)); };
destination hec { http(
    url("%(url)s/services/collector/event") method("POST") user-agent("syslog-ng")
    headers("Authorization: Splunk hec-token") body("$MSG") delimiter("\\n")
    batch-lines(1000) batch-bytes(4000Kb) batch-timeout(100) workers(2) persist-name("hec")
    tls(ca-file("%(ca)s") peer-verify(yes))); };
log { source(lines); destination(hec); flags(flow-control); };
"""


def is_installed() -> bool:
    """Whether the peer can be run here."""
    return shutil.which("syslog-ng") is not None


def ship(lines: Path, events: int, receiver: Receiver, directory: Path) -> tuple[float, float]:
    """Events per CPU second, and per second, from `lines` (one HEC envelope each)."""
    configuration = directory / "syslog-ng.conf"
    values = {"lines": lines, "url": receiver.url, "ca": receiver.ca}
    configuration.write_text(_CONFIGURATION % values)
    own = [f"--{name}={directory / file}" for name, file in _FILES.items()]
    begun = time.perf_counter()
    with subprocess.Popen(
        ["syslog-ng", "--foreground", "--no-caps", f"--cfgfile={configuration}", *own],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while receiver.count() < events:
                if process.poll() is not None:
                    raise RuntimeError(f"syslog-ng ended with {process.returncode}")
                time.sleep(0.1)
            took = time.perf_counter() - begun
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        finally:
            process.terminate()
    return events * _TICK / (int(fields[11]) + int(fields[12])), events / took


_FILES = {
    "persist-file": "syslog-ng.persist",
    "pidfile": "syslog-ng.pid",
    "control": "syslog-ng.ctl",
}
