"""What the probes answer from."""

from harmony_agent.lifecycle.health import Health, Level


def test_liveness_is_the_age_of_our_own_loops() -> None:
    """A loop that has not beaten within its limit is stalled; conditions play no part."""
    now = [0.0]
    health = Health(clock=lambda: now[0])
    health.register_loop("mirror", limit=10)
    health.fail("license", "over")
    now[0] = 10
    assert all(c.level is Level.OK for c in health.stalled())
    now[0] = 10.1
    assert [c.name for c in health.stalled() if c.level is Level.FAILED] == ["mirror"]
    health.beat("mirror")
    assert all(c.level is Level.OK for c in health.stalled())


def test_a_loop_that_ended_on_purpose_is_not_missed() -> None:
    """A retired loop no longer counts."""
    now = [0.0]
    health = Health(clock=lambda: now[0])
    health.register_loop("pull", limit=1)
    health.retire_loop("pull")
    now[0] = 100
    assert health.stalled() == []


def test_startup_is_passed_step_by_step_and_never_taken_back() -> None:
    """Readiness names the missing steps until all are passed."""
    health = Health()
    health.pass_step("repositories")
    health.pass_step("first-pull")
    assert "license" in health.conditions()[0].message
    assert [c.level for c in health.startup()].count(Level.FAILED) == 1
    health.pass_step("license")
    assert health.started
    assert health.conditions()[0].level is Level.OK


def test_the_latest_report_of_a_part_is_what_counts() -> None:
    """Trouble becomes ok again, and each part has one line."""
    health = Health()
    health.trouble("log-system", "503")
    health.ok("log-system")
    lines = [c for c in health.conditions() if c.name == "log-system"]
    assert [(c.level, c.message) for c in lines] == [(Level.OK, "")]
