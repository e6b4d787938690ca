"""The probes, in kube-apiserver's format."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.redaction import conceal
from harmony_agent.lifecycle.health import Condition, Health, Level
from harmony_agent.web.probes import examine
from tests.unit.web.conftest import Client

OK = Condition("repositories", Level.OK, "connected")
TROUBLE = Condition("log-system", Level.TROUBLE, "Splunk answers\n503")
FAILED = Condition("draining", Level.FAILED, "Harmony is being stopped")


def test_a_good_answer_is_ok_alone() -> None:
    """Trouble that is being dealt with does not make a probe fail."""
    assert examine("readyz", [OK, TROUBLE], verbose=False) == (200, "ok")


def test_verbose_tells_every_check() -> None:
    """One line per check, one line at the end, messages on one line."""
    assert examine("readyz", [OK, TROUBLE], verbose=True) == (
        200,
        "[+]repositories ok\n[!]log-system trouble: Splunk answers 503\nreadyz check passed\n",
    )


def test_a_bad_answer_always_tells_every_check() -> None:
    """A person who sees a 503 in an event sees why."""
    assert examine("readyz", [OK, FAILED], verbose=False) == (
        503,
        "[+]repositories ok\n[-]draining failed: Harmony is being stopped\nreadyz check failed\n",
    )


def test_an_excluded_check_does_not_count() -> None:
    """An exclusion is shown, and one that matches nothing is warned about."""
    status, text = examine("readyz", [OK, FAILED], excluded={"draining", "no\nsuch"}, verbose=True)
    assert status == 200
    assert "[+]draining excluded: ok\n" in text
    assert 'cannot be excluded: no matches for "no such"\n' in text


def test_secrets_are_starred() -> None:
    """A message that quotes a secret by mistake does not show it."""
    conceal("hunter2-hunter2")
    failed = Condition("smtp", Level.FAILED, "user:hunter2-hunter2@mail")
    assert "hunter2" not in examine("readyz", [failed], verbose=False)[1]


conditions = st.lists(
    st.builds(
        Condition,
        name=st.sampled_from(["a", "b", "c", "d"]),
        level=st.sampled_from(Level),
        message=st.text(),
    ),
    unique_by=lambda condition: condition.name,
)


@given(conditions, st.sets(st.sampled_from(["a", "b", "x"])), st.booleans())
def test_only_a_failed_check_that_counts_fails_the_probe(
    found: list[Condition], excluded: set[str], verbose: bool
) -> None:
    """503 if and only if a failed check is not excluded; each check has exactly one line."""
    status, text = examine("readyz", found, excluded=excluded, verbose=verbose)
    bad = [c for c in found if c.level is Level.FAILED and c.name not in excluded]
    assert status == (503 if bad else 200)
    if text != "ok":
        lines = text.splitlines()
        assert lines[-1] == f"readyz check {'failed' if bad else 'passed'}"
        assert sum(line.startswith("[") for line in lines) == len(found)


async def test_livez_is_the_age_of_loops_and_nothing_else(client: Client) -> None:
    """A failed condition leaves liveness alone; a stalled loop fails it."""
    now = [0.0]
    health = Health(clock=lambda: now[0])
    health.register_loop("mirror", limit=10)
    health.fail("license", "over")
    async with client(health=health) as agent:
        assert (await agent.get("/livez")).text == "ok"
        now[0] = 11
        answer = await agent.get("/livez?exclude=ping")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == (
        "[+]ping excluded: ok\n[-]mirror failed: no beat for 11 s\nlivez check failed\n"
    )


async def test_startup_and_readiness_wait_for_all_steps(health: Health, client: Client) -> None:
    """Both are 503 until the last step, and the text names what is missing."""
    async with client() as agent:
        assert (await agent.get("/startupz")).status_code == 503
        ready = await agent.get("/readyz")
        assert "[-]startup failed: waiting for repositories, first-pull, license" in ready.text
        for step in health.startup_steps:
            health.pass_step(step)
        assert (await agent.get("/startupz")).text == "ok"
        assert (await agent.get("/readyz")).text == "ok"


async def test_one_check_can_be_asked_for(health: Health, client: Client) -> None:
    """`/readyz/<check>` answers for that check alone; an unknown one is 404 and told."""
    health.ok("repositories")
    async with client() as agent:
        assert (await agent.get("/readyz/repositories")).text == "ok"
        assert (await agent.get("/readyz/startup")).status_code == 503
        verbose = await agent.get("/readyz/repositories?verbose")
        assert verbose.text == "[+]repositories ok\nreadyz/repositories check passed\n"
        unknown = await agent.get("/readyz/nothing")
    assert unknown.status_code == 404
    assert "startup, repositories" in unknown.text


async def test_exclude_can_be_repeated(health: Health, client: Client) -> None:
    """Every `exclude` of the query string counts."""
    health.fail("draining", "told to")
    async with client() as agent:
        assert (await agent.get("/readyz?exclude=startup")).status_code == 503
        assert (await agent.get("/readyz?exclude=startup&exclude=draining")).status_code == 200


@pytest.mark.parametrize("path", ["/harmony/livez", "/harmony/livez/license"])
async def test_harmonys_liveness_is_the_license_alone(
    health: Health, client: Client, path: str
) -> None:
    """From the first moment on: 200 until Harmony may no longer run, whatever else is wrong."""
    health.fail("draining", "told to")
    async with client() as agent:
        assert (await agent.get(path)).status_code == 200
        health.harmony_may_run = False
        answer = await agent.get(path)
    assert answer.status_code == 503
    assert "[-]license failed: refused, or its grace period is over" in answer.text


async def test_probes_are_open_to_the_kubelet(client: Client) -> None:
    """Whatever address and host the kubelet uses, and whether or not a token is set."""
    async with client(peer="10.0.0.1", token=lambda: "token") as agent:
        for path in ("/livez", "/harmony/livez", "/metrics"):
            answer = await agent.get(path, headers={"Host": "10.244.0.7:8090", "Via": "x"})
            assert answer.status_code == 200
