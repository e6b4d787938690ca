"""A request's head is exactly one request, or is not sent."""

from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.errors import Refused
from harmony_agent.repositories.http.request import quoted, request_head


def test_a_head_is_written_as_it_is_sent() -> None:
    """Byte by byte."""
    head = request_head("PUT", "/a%20b?c=d", {"host": "store:1", "if-none-match": "*"})
    assert head == b"PUT /a%20b?c=d HTTP/1.1\r\nhost: store:1\r\nif-none-match: *\r\n\r\n"


@pytest.mark.parametrize("odd", ["\r", "\n", "\r\nx: y", "\0", "\x7f", "\x1f", "ü", "\u2028"])
def test_no_value_can_smuggle_anything_in(odd: str) -> None:
    """Neither a header nor a name or target; the message tells where, and no secret."""
    with pytest.raises(Refused, match="header 'x-token'") as caught:
        request_head("GET", "/", {"host": "a", "x-token": f"secret{odd}"})
    assert "secret" not in str(caught.value)
    for method, target, name in (("GET", f"/{odd}", "a"), ("GET", "/", f"a{odd}"), (odd, "/", "a")):
        with pytest.raises(Refused):
            request_head(method, target, {name: "b"})
    with pytest.raises(Refused, match="the URL"):
        request_head("GET", "/a b", {})


@given(st.text(max_size=30))
def test_a_path_can_be_told_back_from_its_quoted_form(path: str) -> None:
    """Nothing but unreserved characters and slashes is left as it is (RFC 3986, 2.3)."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return  # no path of ours
    found = quoted(path)
    assert unquote(found) == path
    assert found == quote(path, safe="/-_.~")
