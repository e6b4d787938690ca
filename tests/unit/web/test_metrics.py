"""What Prometheus scrapes."""

from prometheus_client.parser import text_string_to_metric_families

from harmony_agent import __version__
from harmony_agent.lifecycle.health import Health
from harmony_agent.web.metrics import Exposition
from tests.unit.web.conftest import Client


def _samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_conditions_are_read_at_the_moment_of_the_scrape() -> None:
    """The level a condition is at is 1 and the others are 0, also after it changed."""
    health = Health()
    exposition = Exposition(health)
    for tell, level in ((health.trouble, "trouble"), (health.fail, "failed")):
        tell("log-system", "503")
        samples = _samples(exposition.text().decode())
        values = {
            candidate: samples[
                (
                    "harmony_agent_condition",
                    frozenset({"name": "log-system", "level": candidate}.items()),
                )
            ]
            for candidate in ("ok", "trouble", "failed")
        }
        assert values == {"ok": 0, "trouble": 0, "failed": 0} | {level: 1}


def test_stalled_loops_and_the_end_of_harmony_show() -> None:
    """What the probes tell can be alerted on."""
    now = [0.0]
    health = Health(clock=lambda: now[0], harmony_may_run=False)
    health.register_loop("mirror", limit=1)
    now[0] = 2
    samples = _samples(Exposition(health).text().decode())
    assert samples[("harmony_agent_loop_stalled", frozenset({("loop", "mirror")}))] == 1
    assert samples[("harmony_agent_harmony_may_run", frozenset())] == 0
    assert samples[("harmony_agent_started", frozenset())] == 0


async def test_the_scrape_holds_version_process_and_answers(client: Client) -> None:
    """Ours, the process's own and the counters of all parts come in one valid text."""
    async with client() as agent:
        await agent.get("/api/logs?node=a&node=b")
        answer = await agent.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    samples = _samples(answer.text)
    names = {name for name, _ in samples}
    assert "process_resident_memory_bytes" in names
    assert any(
        name == "harmony_agent_build_info" and ("version", __version__) in labels
        for name, labels in samples
    )
    labels = frozenset({("endpoint", "/api/logs"), ("code", "400")})
    assert samples[("harmony_agent_api_answers_total", labels)] >= 1


def test_every_name_bears_the_agents_prefix() -> None:
    """A name without prefix is another's, and each family stands there once."""
    families = list(text_string_to_metric_families(Exposition(Health()).text().decode()))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(name.startswith(("harmony_agent_", "process_", "python_")) for name in names)
