"""JSON becomes dataclasses, or is refused."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.json_shape import Range, parse


class Kind(StrEnum):
    """An enumeration of text."""

    ONE = "one"
    OTHER = "other"


@dataclass(frozen=True)
class Inner:
    """A part."""

    at: Annotated[float, Range(0, 100)]
    kind: Kind
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    """The whole."""

    measured: float
    sure: bool = False
    text: str | None = None
    inner: Inner | None = None
    parts: tuple[Inner, ...] = ()


INNERS = st.builds(
    Inner,
    at=st.floats(0, 100),
    kind=st.sampled_from(Kind),
    names=st.lists(st.text()).map(tuple),
)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["measured", "sure", "text", "inner", "parts", "at", "kind", "names"]),
            inner,
        )
    ),
    max_leaves=20,
)


@given(
    st.builds(
        Outer,
        measured=st.floats(allow_nan=False, allow_infinity=False),
        sure=st.booleans(),
        text=st.none() | st.text(),
        inner=st.none() | INNERS,
        parts=st.lists(INNERS).map(tuple),
    )
)
def test_what_was_written_is_read_back(outer: Outer) -> None:
    """Every value survives JSON, whole."""
    assert parse(Outer, orjson.loads(orjson.dumps(asdict(outer)))) == outer


@given(ANY_JSON)
def test_whatever_stands_there_is_taken_whole_or_refused(value: Any) -> None:
    """Only ValueError is raised, and what is taken has the shape that was asked for."""
    try:
        found = parse(Outer, value)
    except ValueError:
        return
    assert isinstance(found.measured, float)
    assert math.isfinite(found.measured)
    assert isinstance(found.sure, bool)
    assert all(0 <= part.at <= 100 for part in found.parts)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"measured": "1"},
        {"measured": True},
        {"measured": math.inf},
        {"measured": 10**400},
        {"measured": 1, "sure": 1},
        {"measured": 1, "text": 5},
        {"measured": 1, "inner": {"at": 101, "kind": "one"}},
        {"measured": 1, "inner": {"at": 1, "kind": "none"}},
        {"measured": 1, "inner": {"kind": "one"}},
        {"measured": 1, "parts": {"at": 1}},
        {"measured": 1, "parts": [{"at": 1, "kind": "one", "names": [5]}]},
    ],
)
def test_another_shape_is_refused(wrong: Any) -> None:
    """Wrong kinds, numbers out of bounds and missing fields are not guessed at."""
    with pytest.raises(ValueError, match=r"not |missing"):
        parse(Outer, wrong)


def test_unknown_keys_are_dropped() -> None:
    """A later version may have written more."""
    assert parse(Outer, {"measured": 1, "new": [1]}) == Outer(1.0)
