"""`GET /api/logs`."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.web.parts import Search
from tests.unit.web.conftest import Client

PAGE = {"totalResults": 1, "resources": [{"id": "a", "message": "<b>&\u2028"}], "next": "c"}


def _raising(error: Exception) -> Search:
    async def search(params: Mapping[str, str]) -> Mapping[str, Any]:
        raise error

    return search


async def test_parameters_go_in_and_the_page_comes_out_as_it_is(client: Client) -> None:
    """The query string arrives decoded, empty values included; the answer is the log system's."""
    asked: list[Mapping[str, str]] = []

    async def search(params: Mapping[str, str]) -> Mapping[str, Any]:
        asked.append(params)
        return PAGE

    async with client(search=search) as agent:
        answer = await agent.get("/api/logs?text=not%20found&severity=error,critical&from=&to=%2B")
    assert answer.json() == PAGE
    assert answer.headers["content-type"] == "application/json"
    assert asked == [{"text": "not found", "severity": "error,critical", "from": "", "to": "+"}]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (AgentError("'count' must be a number"), 400),
        (Refused("searchToken is not configured"), 502),
        (Unavailable("Splunk can't be reached"), 503),
    ],
)
async def test_an_error_is_told_in_harmonys_shape(
    client: Client, error: AgentError, status: int
) -> None:
    """`{"message": …}` with the error's own words, under the status of its type."""
    async with client(search=_raising(error)) as agent:
        answer = await agent.get("/api/logs")
    assert (answer.status_code, answer.json()) == (status, {"message": str(error)})


async def test_a_bug_behind_it_is_an_answer_without_its_words(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The asker learns nothing of the inside; the agent's own log has the traceback."""
    async with client(search=_raising(ZeroDivisionError("inside"))) as agent:
        answer = await agent.get("/api/logs")
    assert answer.status_code == 500
    assert "inside" not in answer.text
    assert "ZeroDivisionError: inside" in caplog.text


async def test_a_parameter_given_twice_is_a_wrong_question(client: Client) -> None:
    """Which of the two counts can't be guessed."""
    async with client() as agent:
        answer = await agent.get("/api/logs?node=a&node=b")
    assert answer.status_code == 400
    assert "'node' is given more than once" in answer.json()["message"]


@pytest.mark.looptime
async def test_a_search_that_never_ends_is_given_up(client: Client) -> None:
    """After its limit the asker gets 504, and the search is cancelled."""
    cancelled = asyncio.Event()

    async def search(params: Mapping[str, str]) -> Mapping[str, Any]:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return {}

    async with client(search=search) as agent:
        answer = await agent.get("/api/logs", timeout=None)
    assert answer.status_code == 504
    assert "90 s" in answer.json()["message"]
    assert cancelled.is_set()


@pytest.mark.looptime
async def test_a_crowd_of_askers_waits_its_turn_and_not_for_ever(client: Client) -> None:
    """Four searches run at once; a fifth waits, and is told to come back if none ends."""
    full, release, running = asyncio.Event(), asyncio.Event(), 0

    async def search(params: Mapping[str, str]) -> Mapping[str, Any]:
        nonlocal running
        running += 1
        assert running <= 4
        if running == 4:
            full.set()
        await release.wait()
        running -= 1
        return PAGE

    async with client(search=search) as agent:
        first = [asyncio.create_task(agent.get("/api/logs", timeout=None)) for _ in range(4)]
        await full.wait()
        late = await agent.get("/api/logs", timeout=None)
        assert late.status_code == 503
        assert late.headers["retry-after"]
        waiting = asyncio.create_task(agent.get("/api/logs", timeout=None))
        await asyncio.sleep(1)
        release.set()
        assert [(await answer).status_code for answer in [*first, waiting]] == [200] * 5


async def test_a_failed_search_gives_its_turn_back(client: Client) -> None:
    """More failures than turns do not block the next asker."""
    async with client(search=_raising(Unavailable("down"))) as agent:
        answers = [await agent.get("/api/logs") for _ in range(6)]
    assert {answer.json()["message"] for answer in answers} == {"down"}
