"""A startup step that several jobs pass together."""

from harmony_agent.agent.gate import Gate
from harmony_agent.lifecycle.health import Health


def test_the_step_is_passed_when_the_last_job_is_through() -> None:
    """One job that is through twice does not stand in for another."""
    health = Health(startup_steps=("pull",))
    opened: list[int] = []
    gate = Gate(health, "pull", ["a", "b"], lambda: opened.append(1))
    gate.pass_by("a")
    gate.pass_by("a")
    assert opened == []
    gate.pass_by("b")
    assert health.started
    assert opened == [1]


def test_without_jobs_the_step_is_passed_at_once() -> None:
    """A step that nobody has to pass holds nothing up."""
    health = Health(startup_steps=("pull",))
    Gate(health, "pull", [])
    assert health.started
