"""When the guard starts Harmony, and when it refuses."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from harmony_agent.lifecycle.signals import ExitSignal
from tests.integration.guard.conftest import Station, is_alive, wait_for

REFUSED = ExitSignal("refused", 'the license was "revoked"', code=77)


def test_waits_for_ready_and_says_so_once(station: Station, shell: tuple[str, ...]) -> None:
    """Harmony starts only after the agent's permission, and the log is not filled meanwhile."""
    guard = station.start("echo", "Harmony", "is up", shell=shell)
    wait_for(lambda: "waiting until harmony-agent is ready" in guard.said, "the reason to wait")
    with pytest.raises(subprocess.TimeoutExpired):
        guard.process.wait(2.5)  # two more looks of the guard
    assert guard.printed == ""
    assert not station.agent.harmony_runs()
    station.agent.tell_ready()
    assert guard.code() == 0
    assert guard.printed == "Harmony is up\n"
    assert guard.said.count("\n") == 1


def test_arguments_arrive_as_they_were_given(station: Station, shell: tuple[str, ...]) -> None:
    """Blanks, quotes, globs and empty arguments pass through, with and without `--`."""
    odd = ["a  b", "", "*", "it's", '"', "$HOME", "-s"]
    station.agent.tell_ready()
    guard = station.start("--", "printf", "<%s>\n", *odd, shell=shell)
    assert guard.code() == 0
    assert guard.printed == "".join(f"<{argument}>\n" for argument in odd)


def test_command_is_never_one_of_the_guards_own_functions(
    station: Station, shell: tuple[str, ...]
) -> None:
    """A command is looked for on the disk, whatever it is called."""
    station.agent.tell_ready()
    guard = station.start("say", "words", shell=shell)
    assert guard.code() == 127
    assert "harmony-guard: words" not in guard.said


@pytest.mark.parametrize("code", [0, 1, 77, 127, 255])
def test_ends_with_harmonys_own_code(station: Station, code: int, shell: tuple[str, ...]) -> None:
    """The platform sees the code that it would see without the guard."""
    station.agent.tell_ready()
    assert station.start("sh", "-c", f"exit {code}", shell=shell).code() == code
    assert not station.agent.harmony_runs()


def test_refuses_while_exit_stands(station: Station, shell: tuple[str, ...]) -> None:
    """A license that was refused keeps Harmony from starting, with the reason and the code."""
    station.agent.tell_ready()
    station.agent.tell_exit(REFUSED)
    guard = station.start("echo", "up", shell=shell)
    assert guard.code() == 77
    assert guard.printed == ""
    assert guard.said == (
        'harmony-guard: Harmony must not run: the license was \\"revoked\\" (code 77)\n'
    )


def test_exit_that_comes_while_waiting_ends_the_guard(station: Station) -> None:
    """A pod whose license is refused at its first start does not wait for ever."""
    guard = station.start("echo", "up")
    wait_for(lambda: "waiting" in guard.said, "the guard's waiting")
    station.agent.tell_exit(REFUSED)
    assert guard.code() == 77
    assert guard.printed == ""


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ('{"reason":"x","message":"over","code":9,"time":"t"}', 9),
        ('{"code": 12, "message": "blanks"}\n', 12),
        ('{"message":"a \\"code\\":5 inside","code":13}', 13),
        ('{\n  "message": "lines",\n  "code": 14\n}\n', 14),
        ('{"message":"zero is no refusal","code":0}', 77),
        ('{"message":"too large","code":256}', 77),
        ('{"message":"no number","code":"a"}', 77),
        ('{"message":"cut off', 77),
        ("not JSON at all", 77),
        ("", 77),
        ("$(touch injected) `touch injected` %s %n \\", 77),
    ],
)
def test_code_comes_from_exit_or_is_77(station: Station, content: str, code: int) -> None:
    """Whatever stands in `exit`, Harmony does not start and the code is a failure."""
    (station.directory / "exit").write_text(content)
    guard = station.start("echo", "up")
    assert guard.code() == code
    assert guard.printed == ""
    assert not list(Path.cwd().glob("injected"))


def test_exit_that_cannot_be_read_counts(station: Station) -> None:
    """An `exit` that is no readable file still keeps Harmony out."""
    (station.directory / "exit").mkdir()
    guard = station.start("echo", "up")
    assert guard.code() == 77
    assert "gives no reason" in guard.said


def test_starts_again_once_exit_is_withdrawn(station: Station) -> None:
    """After a new license is verified, the next start of the container succeeds."""
    station.agent.tell_ready()
    station.agent.tell_exit(REFUSED)
    assert station.start("true").code() == 77
    station.agent.clear_exit()
    assert station.start("true").code() == 0


def test_missing_directory_is_waited_for(station: Station) -> None:
    """A volume that is not mounted is told once, with what to do."""
    later = station.root / "later"
    guard = station.start("echo", "up", directory=later)
    wait_for(lambda: f"{later} is missing: mount the volume" in guard.said, "the complaint")
    later.mkdir()
    (later / "ready").touch()
    assert guard.code() == 0
    assert guard.printed == "up\n"
    assert guard.said.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to run the guard as another user")
def test_directory_that_cannot_be_written_is_told(open_station: Station) -> None:
    """Without `running` the agent would leave too early, so Harmony waits for the volume."""
    open_station.agent.tell_ready()
    guard = open_station.start(
        "echo", "up", prefix=("setpriv", "--reuid=1234", "--regid=1234", "--clear-groups")
    )
    wait_for(lambda: "can't be written by user 1234, group 1234" in guard.said, "the complaint")
    assert guard.printed == ""
    open_station.directory.chmod(0o777)
    assert guard.code() == 0
    assert guard.printed == "up\n"


def test_stale_running_of_a_killed_container_is_cleared(station: Station) -> None:
    """After SIGKILL to the whole container, the next guard tells the agent the truth at once."""
    guard, _ = station.start_running("sleep", "60")
    guard.tear_down()
    assert station.agent.harmony_runs()  # nobody was left to remove it
    station.agent.withdraw_ready()
    station.start("true")
    wait_for(lambda: not station.agent.harmony_runs(), "the removal")


def test_stale_running_is_cleared_also_when_refusing(station: Station) -> None:
    """An agent that drains does not wait for a Harmony that was killed with its guard."""
    guard, _ = station.start_running("sleep", "60")
    guard.tear_down()
    station.agent.tell_exit(REFUSED)
    assert station.start("true").code() == 77
    assert not station.agent.harmony_runs()


@pytest.mark.parametrize("content", ["", "\n", "starting\n", "1\n", "1 2 3\n", "../1 x y\n"])
def test_odd_running_is_taken_for_stale(station: Station, content: str) -> None:
    """Whatever was left behind, it does not keep Harmony out."""
    (station.directory / "running").write_text(content)
    station.agent.tell_ready()
    assert station.start("true").code() == 0


def test_second_guard_waits_for_the_first_ones_harmony(
    station: Station, shell: tuple[str, ...]
) -> None:
    """Two Harmonys never work on one home, even if the first guard was killed alone."""
    guard, harmony = station.start_running("sleep", "60", shell=shell)
    os.kill(guard.process.pid, signal.SIGKILL)
    guard.process.wait()
    second = station.start("echo", "second", shell=shell)
    wait_for(lambda: f"still runs as process {harmony}" in second.said, "the reason to wait")
    assert second.printed == ""
    assert station.agent.harmony_runs()
    os.kill(harmony, signal.SIGTERM)
    assert second.code() == 0
    assert second.printed == "second\n"
    assert not is_alive(harmony)


@pytest.mark.parametrize(
    ("arguments", "timeout"), [((), "60"), (("--",), "60"), (("true",), "soon"), (("true",), "-1")]
)
def test_wrong_use_is_told(station: Station, arguments: tuple[str, ...], timeout: str) -> None:
    """Without a command, or with a time limit that is no number, the guard ends with 2."""
    station.agent.tell_ready()
    guard = station.start(*arguments, stop_timeout=timeout)
    assert guard.code() == 2
    assert guard.said.startswith("harmony-guard: ")
