"""The decision table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.repositories.interface import Token
from harmony_agent.sync.decisions.compare import Decision, decide
from harmony_agent.sync.decisions.states import (
    BaseRow,
    LocalFile,
    LocalState,
    Obstacle,
    RemoteFile,
    RemoteState,
)

A, B, C = "a" * 64, "b" * 64, "c" * 64


def local(sha256: str, size: int = 1) -> LocalFile:
    """A file in home."""
    return LocalFile(sha256, size, 1, 1)


def base(sha256: str = A, token: str = "t1", size: int = 1) -> BaseRow:
    """What both sides agreed on."""
    return BaseRow(sha256, size, 1, 1, Token(token))


def remote(token: str, sha256: str | None = None, size: int = 1) -> RemoteFile:
    """A version in the repository."""
    return RemoteFile(Token(token), size, sha256)


TABLE: list[tuple[str, LocalState, BaseRow | None, RemoteState, Decision]] = [
    ("same, same", local(A), base(), remote("t1"), Decision.NOTHING),
    ("changed, same", local(B), base(), remote("t1"), Decision.LOCAL_CHANGED),
    ("same, changed", local(A), base(), remote("t2", B), Decision.REMOTE_CHANGED),
    ("same, changed, unread", local(A), base(), remote("t2"), Decision.LOOK),
    ("same, changed, other size", local(A), base(), remote("t2", size=2), Decision.REMOTE_CHANGED),
    ("same, rewritten", local(A), base(), remote("t2", A), Decision.ADOPT),
    ("changed, equal", local(B), base(), remote("t2", B), Decision.ADOPT),
    ("changed, changed", local(B), base(), remote("t2", C), Decision.CONFLICT),
    ("changed, changed, unread", local(B), base(), remote("t2"), Decision.LOOK),
    ("changed, other size", local(B), base(), remote("t2", size=9), Decision.CONFLICT),
    ("changed, rewritten", local(B), base(), remote("t2", A), Decision.LOCAL_CHANGED),
    ("deleted, same", None, base(), remote("t1"), Decision.LOCAL_DELETED),
    ("deleted, rewritten", None, base(), remote("t2", A), Decision.LOCAL_DELETED),
    ("deleted, changed", None, base(), remote("t2", B), Decision.REMOTE_OUTLIVES),
    ("deleted, changed, unread", None, base(), remote("t2"), Decision.LOOK),
    ("same, deleted", local(A), base(), None, Decision.REMOTE_DELETED),
    ("deleted, deleted", None, base(), None, Decision.FORGET),
    ("changed, deleted", local(B), base(), None, Decision.LOCAL_OUTLIVES),
    ("new, absent", local(A), None, None, Decision.LOCAL_NEW),
    ("absent, new", None, None, remote("t1"), Decision.REMOTE_NEW),
    ("new, new, equal", local(A), None, remote("t1", A), Decision.ADOPT),
    ("new, new, unread", local(A), None, remote("t1"), Decision.LOOK),
    ("new, new, differ", local(A), None, remote("t1", B), Decision.CONFLICT),
    ("new, new, other size", local(A), None, remote("t1", size=2), Decision.CONFLICT),
    ("nowhere", None, None, None, Decision.NOTHING),
    ("obstacle", Obstacle("link"), base(), remote("t2", B), Decision.HOLD),
]


@pytest.mark.parametrize(
    ("here", "known", "there", "wanted"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE]
)
def test_the_table(
    here: LocalState, known: BaseRow | None, there: RemoteState, wanted: Decision
) -> None:
    """Local against base, remote against base, and what follows."""
    assert decide(here, known, there) is wanted


contents = st.sampled_from([A, B, C])
locals_ = st.one_of(st.none(), st.builds(local, contents))
bases = st.one_of(st.none(), st.builds(base, contents, st.sampled_from(["t1", "t2"])))
remotes = st.one_of(
    st.none(),
    st.builds(remote, st.sampled_from(["t1", "t2"]), st.one_of(st.none(), contents)),
)


@given(locals_, bases, remotes)
def test_no_decision_ends_content_the_other_side_never_had(
    here: LocalFile | None, known: BaseRow | None, there: RemoteFile | None
) -> None:
    """Only content equal to the base (which both sides held) may be replaced or deleted by a plain
    change or delete; anything else is a conflict, or outlives."""
    if known is not None and there is not None and there.token == known.token:
        there = remote(there.token, known.sha256)  # a token names one content
    decision = decide(here, known, there)
    if decision in (Decision.LOCAL_CHANGED, Decision.LOCAL_DELETED):  # ends the remote version
        assert known is not None and there is not None
        assert there.token == known.token or there.sha256 == known.sha256
    if decision in (Decision.REMOTE_CHANGED, Decision.REMOTE_DELETED):  # ends the local version
        assert known is not None and here is not None and here.sha256 == known.sha256
    if decision is Decision.ADOPT:
        assert here is not None and there is not None and here.sha256 == there.sha256
    if decision in (Decision.LOCAL_NEW, Decision.LOCAL_OUTLIVES, Decision.FORGET):
        assert there is None
    if decision in (Decision.REMOTE_NEW, Decision.REMOTE_OUTLIVES):
        assert here is None


@given(locals_, bases, remotes, contents)
def test_reading_the_remote_content_always_decides(
    here: LocalFile | None, known: BaseRow | None, there: RemoteFile | None, content: str
) -> None:
    """LOOK is answered only for content that is unknown, and never twice."""
    if decide(here, known, there) is Decision.LOOK:
        assert there is not None and there.sha256 is None
        assert decide(here, known, remote(there.token, content)) is not Decision.LOOK
