"""Certificates of all kinds, and an environment without proxies."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from fixtures.tls import Certificate


@dataclass(frozen=True)
class Certificates:
    """Server certificates for localhost, and the bundle that trusts all but `unknown`."""

    bundle: Path
    good: Certificate
    expired: Certificate
    not_yet_valid: Certificate
    wrong_name: Certificate
    unknown: Certificate


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Made anew in every run."""
    folder = tmp_path_factory.mktemp("certificates")
    ours, strangers = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(folder / "ca.pem")
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    issued = {
        "good": ours.issue_cert("localhost", "127.0.0.1"),
        "expired": ours.issue_cert(
            "localhost",
            not_before=yesterday - dt.timedelta(days=30),
            not_after=yesterday,
        ),
        "not_yet_valid": ours.issue_cert(
            "localhost",
            not_before=yesterday + dt.timedelta(days=2),
            not_after=yesterday + dt.timedelta(days=30),
        ),
        "wrong_name": ours.issue_cert("elsewhere.example.com"),
        "unknown": strangers.issue_cert("localhost"),
    }
    made = {}
    for name, leaf in issued.items():
        path = folder / f"{name}.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(path)
        made[name] = Certificate(path)
    return Certificates(folder / "ca.pem", **made)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's own proxies do is no part of the tests."""
    for name in ("https_proxy", "http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
