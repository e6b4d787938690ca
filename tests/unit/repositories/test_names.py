"""Which names are refused before they reach a server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.errors import Unsupported
from harmony_agent.repositories.names import check_azure, check_path, check_smb, parents

segments = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\ufffe\uffff"),
    min_size=1,
    max_size=50,
).filter(lambda text: text not in (".", ".."))


@given(st.lists(segments, min_size=1, max_size=4))
def test_every_clean_relative_path_is_accepted(parts: list[str]) -> None:
    """Any letters of any alphabet, blanks and signs."""
    check_path("/".join(parts))


@given(st.text(max_size=30))
def test_an_accepted_path_stays_below_the_root(path: str) -> None:
    """Whatever is accepted has no empty, `.` or `..` part."""
    try:
        check_path(path)
    except Unsupported:
        return
    assert not {"", ".", ".."} & set(path.split("/"))


@pytest.mark.parametrize("path", ["a" * 256, "é" * 128, "a/" * 500 + "a", "a\ud800", "tab\t"])
def test_long_and_invalid_names_are_refused(path: str) -> None:
    """Bytes count, not letters."""
    with pytest.raises(Unsupported):
        check_path(path)


@pytest.mark.parametrize(
    "path", ["a:b", "a*", "a?", "a\\b", 'a"', "a|b", "a<b", "dir./a", "a ", "a.", "NUL", "con.txt"]
)
def test_names_that_smb_mangles_are_refused(path: str) -> None:
    """Two files could become one."""
    with pytest.raises(Unsupported):
        check_smb(path)


def test_brackets_and_blanks_inside_are_fine_on_smb() -> None:
    """Harmony's own names pass."""
    for path in ("hosts/Local Listener.xml", "hosts/cfg[1].xml", "hosts/console.xml"):
        check_smb(path)


@pytest.mark.parametrize("path", ["a\\b", "a.", "dir./a"])
def test_names_that_azure_changes_are_refused(path: str) -> None:
    """A backslash would become a folder."""
    with pytest.raises(Unsupported):
        check_azure(path)


def test_parents_are_outermost_first() -> None:
    """As folders have to be made."""
    assert parents("a/b/c") == ["a", "a/b", "a/b/c"]
    assert parents("a") == ["a"]
