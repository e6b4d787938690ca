"""Answers are read alike in whatever pieces they come, and what is not clear is refused."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.repositories.http.answer import HEAD_LIMIT, AnswerParser, Head, NotHttp

_NAMES = st.sampled_from(["etag", "ETag", "x-a", "X-Amz-Request-Id", "date", "server"])
_VALUES = st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=12
)
_BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@dataclass(frozen=True)
class Written:
    """An answer on the wire, and what it says."""

    data: bytes
    status: int
    body: bytes
    is_ended_by_close: bool


@st.composite
def answers(draw: st.DrawFn) -> Written:
    """With a length, in chunks, or up to the end of the connection; after 100 Continue or not."""
    status = draw(st.sampled_from([200, 201, 206, 403, 404, 412, 503]))
    pieces = draw(_BODIES)
    body = b"".join(pieces)
    fields = draw(st.lists(st.tuples(_NAMES, _VALUES), max_size=4))
    framing = draw(st.sampled_from(["length", "chunks", "close"]))
    if framing == "length":
        fields.append(("Content-Length", str(len(body))))
    elif framing == "chunks":
        fields.append(("Transfer-Encoding", "chunked"))
        extension = draw(st.sampled_from([b"", b";a=b", b" "]))
        trailer = draw(st.sampled_from([b"", b"x-sum: 1\r\n"]))
        chunks = [b"%X%b\r\n%b\r\n" % (len(piece), extension, piece) for piece in pieces]
        body = b"".join([*chunks, b"0\r\n", trailer, b"\r\n"])
    lines = [f"HTTP/1.1 {status} Some reason", *(f"{name}: {value}" for name, value in fields)]
    before = draw(st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n"]))
    data = before + "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    return Written(data, status, b"".join(pieces), framing == "close")


def read(pieces: Iterable[bytes], method: str = "GET") -> tuple[AnswerParser, bytes]:
    """Feed `pieces`; the parser and the body."""
    parser = AnswerParser(method)
    body = b"".join(part for piece in pieces for part in parser.feed(piece))
    return parser, body


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` in pieces that end at `places`."""
    ends = [0, *sorted({place % (len(data) + 1) for place in places}), len(data)]
    return [data[a:b] for a, b in pairwise(ends) if a < b]


def by_h11(data: bytes) -> tuple[int, dict[str, str], bytes]:
    """What another parser makes of it."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    body = b""
    headers: dict[str, str] = {}
    status = 0
    while not isinstance(event := connection.next_event(), h11.EndOfMessage):
        if isinstance(event, h11.Response):
            status = event.status_code
            for raw, value in event.headers:
                name, text = raw.decode(), value.decode("latin-1")
                headers[name] = f"{headers[name]}, {text}" if name in headers else text
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, headers, body


@given(answers(), st.lists(st.integers(0, 2000), max_size=12))
def test_however_an_answer_is_cut_it_is_the_same_answer(
    written: Written, places: list[int]
) -> None:
    """Status, headers and body do not depend on what the network makes of them; and they are what
    another parser finds."""
    parser, body = read(cut(written.data, places))
    status, headers, theirs = by_h11(written.data)
    assert parser.head is not None
    assert (parser.head.status, parser.head.headers, body) == (status, headers, theirs)
    assert (status, body) == (written.status, written.body)
    assert parser.is_complete is not written.is_ended_by_close
    assert parser.keeps is not written.is_ended_by_close
    parser.end()
    assert parser.is_complete


@given(answers(), st.integers(0, 2000))
def test_an_answer_cut_short_is_never_taken_for_a_whole_one(written: Written, place: int) -> None:
    """Unless its end is that of the connection, in which case nobody could tell."""
    short = written.data[: place % len(written.data)]
    parser, _ = read([short])
    if parser.head and written.is_ended_by_close:
        return
    assert not parser.is_complete
    with pytest.raises(ConnectionResetError):
        parser.end()


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=5))
def test_garbage_gives_but_one_kind_of_error(data: bytes, places: list[int]) -> None:
    """Also behind a sound beginning, and the same however it is cut."""

    def outcome(pieces: list[bytes]) -> tuple[Head | None, bool, bool] | str:
        try:
            parser, _ = read(pieces)
        except NotHttp as error:
            return str(error)
        return parser.head, parser.is_complete, parser.keeps

    for before in (
        b"",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ):
        whole, pieced = outcome([before + data]), outcome(cut(before + data, places))
        assert pieced == whole or (isinstance(pieced, str) and isinstance(whole, str))


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2",
        b"\x15\x03\x01\x00\x02",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\n\r\n",
        OK + b" folded: first\r\n\r\n",
        OK + b"name : value\r\n\r\n",
        OK + b": nameless\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"a: b\nc: d\r\n\r\n",
        OK + b"a: b\rc: d\r\n\r\n",
        OK + b"a: \x00\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: +1\r\n\r\n",
        OK + b"content-length: 1_0\r\n\r\n",
        OK + b"content-length: 0x1\r\n\r\n",
        OK + b"content-length: \r\n\r\n",
        OK + b"content-length: 3\r\ncontent-length: 4\r\n\r\n",
        OK + b"content-length: " + b"9" * 19 + b"\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n",
        OK + b"transfer-encoding: xchunked\r\n\r\n",
        CHUNKED + b"x\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"3\nabc\r\n",
        CHUNKED + b"3\r\nabcd\r\n",
        CHUNKED + b"3\r\nabc\n\r",
        CHUNKED + b"f" * 16 + b"\r\n",
        CHUNKED + b"3;\x00\r\nabc\r\n",
        CHUNKED + b"0\r\nno colon\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    """Whole or byte by byte: a guess would hand one request's answer to another."""
    for pieces in ([data], [data[i : i + 1] for i in range(len(data))]):
        with pytest.raises(NotHttp):
            read(pieces)


@pytest.mark.parametrize(
    "before",
    [b"HTTP/1.1 200 OK\r\na: ", CHUNKED + b"3;a=", CHUNKED + b"0\r\na: "],
    ids=["head", "chunk", "trailer"],
)
def test_what_never_ends_is_given_up(before: bytes) -> None:
    """Memory has a bound, however patient the server is."""
    endless = [before, *(b"a" * 1024 for _ in range(HEAD_LIMIT // 1024))]
    with pytest.raises(NotHttp, match="has no end"):
        read(endless)


def test_a_head_of_the_largest_size_is_taken() -> None:
    """The limit is for heads, not for what follows them."""
    head = OK + b"content-length: 5\r\na: "
    head += b"b" * (HEAD_LIMIT - len(head) - 4) + b"\r\n\r\n"
    parser, body = read([head + b"whole"])
    assert (parser.keeps, body) == (True, b"whole")


@pytest.mark.parametrize(
    ("method", "data"),
    [
        ("HEAD", OK + b"content-length: 7\r\n\r\n"),
        ("HEAD", OK + b"transfer-encoding: Chunked\r\n\r\n"),
        ("DELETE", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n"),
        ("CONNECT", b"HTTP/1.1 200\r\ncontent-length: 7\r\n\r\n"),
        ("PUT", OK + b"content-length: 0\r\n\r\n"),
    ],
)
def test_some_answers_have_no_body(method: str, data: bytes) -> None:
    """Whatever their headers say; the connection serves the next request at once."""
    parser, body = read([data], method)
    assert (parser.is_complete, parser.keeps, body) == (True, True, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\na",
        OK + b"Connection: keep-alive, Close\r\ncontent-length: 1\r\n\r\na",
        OK + b"content-length: 1\r\n\r\na" + OK,
        OK + b"content-length: 1\r\n\r\na\n",
    ],
    ids=["old", "told", "another answer", "a stray byte"],
)
def test_a_connection_that_is_not_clean_afterwards_is_not_kept(data: bytes) -> None:
    """What follows an answer must not be taken for that to the next request."""
    parser, body = read([data])
    assert (parser.is_complete, parser.keeps, body) == (True, False, b"a")
    parser, body = read([data[i : i + 1] for i in range(len(data))])
    assert (parser.is_complete, parser.keeps, body) == (True, False, b"a")


def test_headers_are_told_in_one_way() -> None:
    """Lower case, repetitions joined, folds undone, blanks around a value gone."""
    data = OK + b"A: 1\r\na:  2\t\r\nB: x\r\n\t y\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"
    parser, _ = read([data])
    assert parser.head == Head(200, {"a": "1, 2", "b": "x y", "transfer-encoding": "Chunked"})
    assert parser.keeps
