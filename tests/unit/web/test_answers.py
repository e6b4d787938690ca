"""Which HTTP status an error becomes."""

import inspect

import pytest

from harmony_agent.core import errors
from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
    Unsupported,
)
from harmony_agent.core.redaction import conceal
from harmony_agent.web.answers import BadRequest, failure, refuse, starred


class QueryError(AgentError):
    """As the log side raises it: its type is not known to the web side."""


TABLE: dict[type[AgentError], int] = {
    AgentError: 400,
    BadRequest: 400,
    QueryError: 400,
    Unsupported: 400,
    Refused: 502,
    Absent: 502,
    PreconditionFailed: 502,
    Unavailable: 503,
    OutcomeUnknown: 504,
}


@pytest.mark.parametrize(("error", "status"), TABLE.items())
def test_the_type_decides_the_status(error: type[AgentError], status: int) -> None:
    """Each kind of error has its status."""
    assert failure(error("why"))[0] == status


def test_no_kind_of_error_is_forgotten() -> None:
    """A type added to the tree has to be given a status here."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    assert {kind for kind in kinds if issubclass(kind, AgentError)} <= set(TABLE)


@pytest.mark.parametrize(
    ("seconds", "header"), [(None, "5"), (0.0, "5"), (0.2, "1"), (12.1, "13"), (60, "60")]
)
def test_an_unavailable_log_system_tells_when_to_come_back(
    seconds: float | None, header: str
) -> None:
    """Retry-After holds whole seconds, never fewer than asked for."""
    assert failure(Unavailable("busy", retry_after=seconds))[1] == {"Retry-After": header}


def test_an_error_shows_no_secret() -> None:
    """The message of an error is starred like a log line."""
    conceal("hunter2-hunter2")
    answer = refuse("token hunter2-hunter2 is wrong", 502)
    assert answer.body == b'{"message":"token ******** is wrong"}'


def test_stars_reach_every_depth_and_change_nothing_else() -> None:
    """Strings anywhere in JSON values are starred; keys, numbers and the like stay."""
    conceal("hunter2-hunter2")
    assert starred(
        {"a": ["x hunter2-hunter2", {"b": ("hunter2-hunter2",)}], "c": 1, "d": None}
    ) == {
        "a": ["x ********", {"b": ["********"]}],
        "c": 1,
        "d": None,
    }
