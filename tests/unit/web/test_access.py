"""Who may see data over TCP."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.web.access import Verdict, judge, judge_shell

LOCAL = [(b"host", b"localhost:8090")]
TOKEN = "correct horse battery staple"


@pytest.mark.parametrize("peer", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host", [b"localhost", b"LOCALHOST:1", b"127.0.0.1:8090", b"[::1]", b"[::1]:65535"]
)
def test_without_a_token_this_machine_may(peer: str, host: bytes) -> None:
    """A loopback peer that asked for a loopback name gets an answer."""
    assert judge(peer, [(b"host", host), (b"accept", b"*/*")], None) is Verdict.ALLOWED


@pytest.mark.parametrize(
    "peer",
    ["127.0.0.2", "10.0.0.7", "::ffff:10.0.0.7", "0.0.0.0", "::", "fe80::1", "localhost", "", None],
)
def test_without_a_token_nobody_else_may(peer: str | None) -> None:
    """Only the three true loopback addresses count."""
    assert judge(peer, LOCAL, None) is Verdict.FORBIDDEN


@pytest.mark.parametrize(
    "host",
    [
        b"evil.example",  # DNS rebinding
        b"evil.example:8090",
        b"localhost.evil.example",
        b"localhost.",
        b"localhost:",
        b"localhost:abc",
        b"localhost:8090@evil.example",
        b"127.0.0.1.nip.io",
        b"127.1",
        b"0.0.0.0",
        b"::1",
        b"[::1].evil.example",
        b"[::ffff:127.0.0.1]",
        b"user@localhost",
        b"localhost\n",
        b"",
    ],
)
def test_a_loopback_peer_that_was_led_here_by_another_name_may_not(host: bytes) -> None:
    """A browser that a foreign site's name has brought to 127.0.0.1 sends that name."""
    assert judge("127.0.0.1", [(b"host", host)], None) is Verdict.FORBIDDEN


@pytest.mark.parametrize(
    "header",
    [
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
        b"x-forwarded",
        b"x_forwarded_for",
        b"x-original-forwarded-for",
        b"x-real-ip",
        b"via",
        b"cf-connecting-ip",
        b"true-client-ip",
    ],
)
def test_a_request_through_a_proxy_on_this_machine_may_not(header: bytes) -> None:
    """A forwarding header tells that the peer is not who asks, whatever it says."""
    for value in (b"127.0.0.1", b""):
        assert judge("127.0.0.1", [*LOCAL, (header, value)], None) is Verdict.FORBIDDEN


def test_no_host_or_two_are_not_local() -> None:
    """Which of two names counts would depend on who reads them."""
    assert judge("127.0.0.1", [], None) is Verdict.FORBIDDEN
    assert judge("127.0.0.1", LOCAL + LOCAL, None) is Verdict.FORBIDDEN


@pytest.mark.parametrize("scheme", [b"Bearer", b"bearer", b"BEARER"])
def test_the_token_opens_from_anywhere(scheme: bytes) -> None:
    """With the right token neither peer, host nor proxies matter."""
    headers = [
        (b"host", b"agent.example"),
        (b"via", b"1.1 proxy"),
        (b"authorization", scheme + b" " + TOKEN.encode()),
    ]
    assert judge("10.0.0.7", headers, TOKEN) is Verdict.ALLOWED


@pytest.mark.parametrize(
    "values",
    [
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"Bearer wrong"],
        [TOKEN.encode()],
        [b"Basic " + TOKEN.encode()],
        [b"Bearer " + TOKEN.encode() + b"x"],
        [b"Bearer " + TOKEN[:-1].encode()],
        [b"Bearer " + TOKEN.encode(), b"Bearer " + TOKEN.encode()],
        [b"Bearer \xff\xfe"],
    ],
)
def test_once_a_token_is_set_even_this_machine_needs_it(values: list[bytes]) -> None:
    """A wrong or missing token is refused, also on loopback."""
    headers = [*LOCAL, *((b"authorization", value) for value in values)]
    assert judge("127.0.0.1", headers, TOKEN) is Verdict.UNAUTHENTICATED


def test_a_token_may_hold_any_letters() -> None:
    """A token outside ASCII is compared as the UTF-8 that curl sends."""
    headers = [(b"authorization", "Bearer schlüssel".encode())]
    assert judge("10.0.0.7", headers, "schlüssel") is Verdict.ALLOWED


@given(st.text(min_size=1), st.binary())
def test_only_the_token_itself_is_the_token(token: str, offered: bytes) -> None:
    """Whatever bytes are offered, they open only if they are the token."""
    token = token.encode("utf-8", "replace").decode()
    headers = [(b"authorization", b"Bearer " + offered)]
    allowed = judge("10.0.0.7", headers, token) is Verdict.ALLOWED
    assert allowed == (offered.strip(b" ") == token.encode())


def test_an_empty_token_is_none() -> None:
    """An empty token must not let an empty credential in."""
    headers = [(b"authorization", b"Bearer ")]
    assert judge("10.0.0.7", headers, "") is Verdict.FORBIDDEN


def test_the_page_without_data_is_there_for_whoever_has_to_enter_the_token() -> None:
    """A browser can't send the token on its own; without a token set the rule is the same."""
    assert judge_shell("10.0.0.7", [(b"host", b"agent.example")], TOKEN) is Verdict.ALLOWED
    assert judge_shell("10.0.0.7", LOCAL, None) is Verdict.FORBIDDEN
    assert judge_shell("127.0.0.1", LOCAL, None) is Verdict.ALLOWED
