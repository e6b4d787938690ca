"""Which proxy is used, by the variables that every tool knows."""

import pytest

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.http.proxy import Proxy, proxy_for


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the machine's own."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_variables_there_is_none() -> None:
    """The way is direct."""
    assert proxy_for("https", "s3.example.com") is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_each_usual_variable_is_known(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In both cases, and the one for all schemes."""
    monkeypatch.setenv(name, "http://proxy.example.com:3128")
    found = proxy_for("https", "s3.example.com")
    assert found == Proxy("proxy.example.com", 3128, secure=False, headers={})


def test_a_proxy_may_want_a_login_and_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password are unquoted before they are encoded."""
    monkeypatch.setenv("HTTPS_PROXY", "https://me:p%40ss@proxy.example.com")
    found = proxy_for("https", "s3.example.com")
    assert found is not None
    assert (found.port, found.secure) == (443, True)
    assert found.headers == {"proxy-authorization": "Basic bWU6cEBzcw=="}


def test_no_proxy_names_hosts_that_are_reached_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    """With everything below a domain."""
    monkeypatch.setenv("HTTPS_PROXY", "proxy.example.com:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,.internal")
    assert proxy_for("https", "minio.internal") is None
    assert proxy_for("https", "s3.example.com") is not None


@pytest.mark.parametrize("port", ["", ":1080"])
def test_an_unusable_proxy_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch, port: str
) -> None:
    """SOCKS is not spoken."""
    monkeypatch.setenv("HTTPS_PROXY", f"socks5://me:secret@proxy.example.com{port}")
    with pytest.raises(Refused, match="no http:// or https:// URL") as caught:
        proxy_for("https", "s3.example.com")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("port", ["abc", "70000", "0x1"])
def test_a_port_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    """Instead of a fault of the agent."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://proxy.example.com:{port}")
    with pytest.raises(Refused, match="no http:// or https:// URL"):
        proxy_for("https", "s3.example.com")
