"""The commands, against a running agent and without one."""

import json

import pytest

from fixtures.demo_backends import secret
from fixtures.harmony_log import HarmonyLog, element
from fixtures.serve import serving
from fixtures.splunk import SplunkStandIn
from tests.system.agent_process import eventually, run_command
from tests.system.conftest import Node

pytestmark = pytest.mark.server


def test_check_tests_everything_for_real_and_leaves_nothing_behind(node: Node) -> None:
    """With all services up each check is fine; no mail, no ticket, no probe file remains."""
    ended = run_command(node.layout, "check", "--json", **node.environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    findings = {f["check"]: f["level"] for f in json.loads(ended.stdout)["findings"]}
    assert findings == dict.fromkeys(
        ["directories", "configuration-repository", "runtime-repository", "log-system", "license",
         "serials", "ticket-service", "mail"],
        "ok",
    )  # fmt: skip
    assert not node.mail.mails
    assert not node.tickets.tickets
    assert not [p for p in node.layout.repository.rglob("*probe*") if p.is_file()]


def test_check_says_what_is_wrong_and_fails(node: Node) -> None:
    """A refused license and a wrong mail password are both told, and the secret is not shown."""
    node.license.answer = "expired"
    node.environment["HARMONY_AGENT_SMTP_URL"] = (
        f"smtp+starttls://agent:wr0ng-Passw0rd@localhost:{node.mail.port}"
    )
    ended = run_command(node.layout, "check", **node.environment)
    assert ended.returncode == 1
    lines = ended.stdout.splitlines()
    assert any(line.startswith("FAILED   license:") for line in lines)
    assert any(line.startswith("FAILED   mail:") and "password" in line for line in lines)
    assert "wr0ng-Passw0rd" not in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_init_does_the_first_steps_and_ends(node: Node) -> None:
    """`init` fills the repositories and ends with 0; it does not let Harmony start."""
    ended = run_command(node.layout, "init", **node.environment)
    assert ended.returncode == 0, ended.stderr
    assert (node.layout.configuration / "conf/Options.xml").exists()
    assert node.layout.runtime.is_dir()
    assert not (node.layout.signals / "ready").exists()


def test_init_gives_up_after_its_limit(node: Node) -> None:
    """With a repository that can't be opened `init` ends with 1 and names what is not done."""
    node.layout.repository.rmdir()
    node.layout.repository.write_text("in the way")
    ended = run_command(node.layout, "init", "--timeout", "3s", **node.environment)
    assert ended.returncode == 1
    assert "repositories" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_init_ends_with_77_if_the_license_is_refused(node: Node) -> None:
    """A license that was never verified and is refused gets no grace."""
    node.license.answer = "invalid"
    assert run_command(node.layout, "init", **node.environment).returncode == 77


def test_commands_talk_to_the_running_agent(node: Node) -> None:
    """`wait`, `status`, `logs`, `sync --once` and `drain` do what they say over the socket."""
    with node.agent() as agent, node.harmony() as harmony:
        assert agent.command("wait", "--timeout", "30s").returncode == 0
        status = agent.command("status")
        assert status.returncode == 0
        assert "[+] startup" in status.stdout
        assert "state: valid" in status.stdout
        assert json.loads(agent.command("status", "--json").stdout)["started"] is True

        def errors() -> list[str]:
            shown = agent.command("logs", "--severity", "error", "--json", "--count", "3")
            return shown.stdout.splitlines()

        found = [json.loads(line) for line in eventually(errors, what="an error in Harmony's log")]
        assert all(event["severity"] == "error" for event in found)
        assert found == sorted(found, key=lambda event: event["time"])

        plan = agent.command("sync", "--once", "--dry-run")
        assert plan.returncode == 0, plan.stderr
        assert "configuration:" in plan.stdout
        assert agent.command("logs", "--severity", "loud").stderr.count("error") >= 1

        assert agent.command("drain", "--timeout", "500ms").returncode == 1
        harmony.terminate()
        assert harmony.wait(30) == 0
        assert agent.command("drain", "--timeout", "5s").returncode == 0
        assert agent.stop() == 0


def test_a_second_agent_with_the_same_state_is_refused(node: Node) -> None:
    """Two agents must not share a state directory: the second ends with 1 and says why."""
    with node.agent() as agent:
        agent.wait_started()
        ended = run_command(
            node.layout, "run", **{**node.environment, "HARMONY_AGENT_BIND": "127.0.0.1:0"}
        )
        assert ended.returncode == 1
        assert "another harmony-agent" in ended.stderr
        assert agent.stop() == 0


def test_probes_follow_kubernetes(node: Node) -> None:
    """Verbose lines, exclusion and single checks work as with kube-apiserver; metrics are there."""
    with node.agent() as agent:
        agent.wait_started()
        status, text = agent.probe("/readyz?verbose")
        assert status == 200
        assert "[+]startup ok" in text
        assert text.rstrip().endswith("readyz check passed")
        assert agent.probe("/readyz/lease")[0] == 200
        assert agent.probe("/livez")[0] == agent.probe("/harmony/livez")[0] == 200
        assert "harmony_agent_build_info" in agent.probe("/metrics")[1]
        assert agent.stop() == 0


def test_dead_letters_are_listed_shown_sent_again_and_removed(node: Node) -> None:
    """Splunk refuses three events for good: they are listed with its words and shown whole; once
    Splunk takes them they are sent again under the same id, or forgotten."""
    splunk = SplunkStandIn()
    splunk.hec.poison = "Harmony started"
    with serving(splunk.app, node.authority.issue()) as url:
        node.layout.write_secrets(cleo_log_system=secret("splunk", url=url, token=splunk.hec.token))
        log = HarmonyLog(node.layout.home / "logs" / "Harmony.xml")
        log.start()
        for number in range(3):
            log.event(element("Detail", f"Harmony started {number}", level="1"), thread=1)
        log.event(element("Detail", "fine", level="1"), thread=1)
        with node.agent() as agent:
            eventually(lambda: splunk.events, what="the event that is taken")

            def listed() -> list[dict[str, str]]:
                shown = agent.command("dead-letters", "list", "--json")
                return [json.loads(line) for line in shown.stdout.splitlines()]

            letters = eventually(listed, what="dead letters")
            assert len(letters) == 3
            assert all("Invalid data format" in letter["reason"] for letter in letters)
            first, second, third = (letter["id"] for letter in letters)
            assert "3 of 3 dead letters" in agent.command("dead-letters", "list").stdout
            shown = json.loads(agent.command("dead-letters", "show", second).stdout)
            assert shown[0]["event"]["message"] == "Harmony started 1"
            again = agent.command("dead-letters", "resend", first)
            assert (again.returncode, "refused again" in again.stdout) == (1, True)

            splunk.hec.poison = None
            assert agent.command("dead-letters", "resend", first).stdout == "1 sent\n"
            assert splunk.events[-1]["id"] == first
            assert agent.command("dead-letters", "remove", second).stdout == "1 removed\n"
            assert agent.command("dead-letters", "remove", second).returncode == 1
            assert "no event's id" in agent.command("dead-letters", "show", "x").stderr
            assert agent.command("dead-letters", "remove").returncode == 2
            assert json.loads(agent.command("status", "--json").stdout)["logs"]["deadLetters"] == 1
            assert "harmony_agent_log_dead_letters_kept 1.0" in agent.probe("/metrics")[1]
            agent.kill()
        with node.agent() as agent:
            agent.wait_started()
            assert eventually(listed)[0]["id"] == third
            assert agent.command("dead-letters", "resend", "--all").stdout == "1 sent\n"
            assert listed() == []
            assert agent.stop() == 0
