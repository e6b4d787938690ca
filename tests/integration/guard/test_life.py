"""What the guard does while Harmony lives, and how both end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harmony_agent.lifecycle.signals import ExitSignal
from tests.integration.guard.conftest import Station, is_alive, wait_for

OVER = ExitSignal("grace-over", "the grace period is over", code=77)

# Ends with 10 on SIGTERM, names every other signal; says `up` when it can take them. It waits for
# them instead of handling them: one that comes just before `pause` would be handled a signal later.
LISTENER = """
import signal, sys
names = {getattr(signal, "SIG" + name): name
         for name in ("TERM", "HUP", "QUIT", "USR1", "USR2", "INT")}
signal.pthread_sigmask(signal.SIG_BLOCK, names)
print("up", flush=True)
while True:
    number = signal.sigwait(names)
    print(names[number], flush=True)
    if number == signal.SIGTERM:
        sys.exit(10)
"""
LISTEN = (sys.executable, "-S", "-c", LISTENER)

# Does not heed SIGTERM; says `up` when that holds.
DEAF = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")


def test_running_stands_while_harmony_lives(station: Station, shell: tuple[str, ...]) -> None:
    """The agent sees `running` before Harmony's first step and never after its last."""
    station.agent.tell_ready()
    running = station.directory / "running"
    guard = station.start("sh", "-c", f"test -e {running} && echo told; read gone", shell=shell)
    assert guard.code() == 1  # standard input is at its end
    assert guard.printed == "told\n"
    assert not running.exists()
    assert sorted(path.name for path in station.directory.iterdir()) == ["ready"]


def test_running_names_harmonys_process(station: Station) -> None:
    """What stands in `running` leads a person to the process."""
    _, pid = station.start_running("sleep", "60")
    wait_for(lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", "Harmony's own program")


def test_sigkill_to_harmony_is_noticed(station: Station, shell: tuple[str, ...]) -> None:
    """A Harmony that the kernel kills is gone for the agent at once, and the code tells it."""
    guard, pid = station.start_running("sleep", "60", shell=shell)
    os.kill(pid, signal.SIGKILL)
    assert guard.code(limit=2.0) == 128 + signal.SIGKILL
    assert not station.agent.harmony_runs()


def test_sigkill_to_the_guard_leaves_running_true(station: Station, shell: tuple[str, ...]) -> None:
    """`running` stands as long as the Harmony of a killed guard lives, and no longer."""
    guard, pid = station.start_running("sleep", "60", shell=shell)
    os.kill(guard.process.pid, signal.SIGKILL)
    guard.process.wait()
    assert is_alive(pid)
    with pytest.raises(AssertionError):
        wait_for(lambda: not station.agent.harmony_runs(), "nothing", limit=2.5)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not station.agent.harmony_runs(), "the removal")


def test_exit_ends_harmony_of_a_killed_guard(station: Station) -> None:
    """A killed guard does not make Harmony immortal."""
    guard, pid = station.start_running("sleep", "60")
    os.kill(guard.process.pid, signal.SIGKILL)
    guard.process.wait()
    station.agent.tell_exit(OVER)
    wait_for(lambda: not is_alive(pid), "Harmony's end")
    wait_for(lambda: not station.agent.harmony_runs(), "the removal")


def test_signals_are_forwarded(station: Station, shell: tuple[str, ...]) -> None:
    """Harmony gets what the platform sends, INT as TERM, and ends the way it wants to."""
    guard, _ = station.start_running(*LISTEN, shell=shell)
    wait_for(lambda: guard.printed == "up\n", "the listener")
    expected = "up\n"
    for name in ("HUP", "QUIT", "USR1", "USR2"):
        guard.process.send_signal(getattr(signal, f"SIG{name}"))
        expected += f"{name}\n"
        wait_for(lambda: guard.printed == expected, f"SIG{name}")  # noqa: B023 - used at once
    guard.process.send_signal(signal.SIGINT)
    assert guard.code() == 10
    assert guard.printed == expected + "TERM\n"
    assert not station.agent.harmony_runs()


def test_default_action_of_sigterm_gives_143(station: Station, shell: tuple[str, ...]) -> None:
    """A Harmony that dies of SIGTERM is told as 128 + 15."""
    guard, _ = station.start_running("sleep", "60", shell=shell)
    guard.process.send_signal(signal.SIGTERM)
    assert guard.code(limit=2.0) == 143


def test_impatient_signals_do_not_spoil_the_code(station: Station, shell: tuple[str, ...]) -> None:
    """Who sends SIGTERM again and again gets the code of Harmony's one end."""
    harmony = "trap 'ending=1' TERM; echo up; until [ \"$ending\" ]; do sleep 0.05; done; exit 10"
    guard, _ = station.start_running("sh", "-c", f"ending=; {harmony}", shell=shell)
    wait_for(lambda: guard.printed == "up\n", "Harmony")
    for _ in range(20):
        guard.process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
    assert guard.code() == 10


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT"])
def test_signal_before_the_start_ends_the_guard(station: Station, name: str) -> None:
    """A pod that is deleted while it waits ends at once; Harmony is not started."""
    guard = station.start("echo", "up")
    wait_for(lambda: "waiting" in guard.said, "the guard's waiting")
    guard.process.send_signal(getattr(signal, f"SIG{name}"))
    expected = {"TERM": 143, "INT": 143, "HUP": 129, "QUIT": 131}[name]
    assert guard.code() == expected
    station.agent.tell_ready()
    assert guard.printed == ""


def test_signal_in_the_moment_of_the_start_is_not_lost(
    station: Station, shell: tuple[str, ...]
) -> None:
    """Whenever SIGTERM comes around the start, the guard ends soon and leaves nothing behind."""
    station.agent.tell_ready()
    codes = set()
    for step in range(40):
        guard = station.start("sleep", "60", shell=shell)
        with pytest.raises(subprocess.TimeoutExpired):
            guard.process.wait(step / 1000)
        guard.process.send_signal(signal.SIGTERM)
        codes.add(guard.code(limit=5.0))
        assert not station.agent.harmony_runs()
    assert codes == {143}


def test_exit_ends_harmony_with_its_code(station: Station, shell: tuple[str, ...]) -> None:
    """When the grace is over, Harmony gets SIGTERM and the container ends with 77."""
    guard, _ = station.start_running(*LISTEN, shell=shell)
    wait_for(lambda: guard.printed == "up\n", "the listener")
    station.agent.tell_exit(OVER)
    assert guard.code() == 77
    assert guard.printed == "up\nTERM\n"
    assert "the grace period is over (code 77)" in guard.said
    assert not station.agent.harmony_runs()


def test_exit_kills_a_harmony_that_does_not_end(station: Station, shell: tuple[str, ...]) -> None:
    """SIGTERM is followed by SIGKILL after the limit, not before."""
    guard, pid = station.start_running(*DEAF, shell=shell, stop_timeout="2")
    wait_for(lambda: guard.printed == "up\n", "Harmony")
    station.agent.tell_exit(OVER)
    wait_for(lambda: "ending Harmony, which has 2 s" in guard.said, "the end's beginning")
    assert is_alive(pid)
    assert guard.code() == 77
    assert "Harmony did not end within 2 s: killing it" in guard.said
    assert not is_alive(pid)
    assert not station.agent.harmony_runs()


def test_exit_withdrawn_while_harmony_ends_gives_harmonys_code(station: Station) -> None:
    """A verification that comes just too late lets the container start again, with its code."""
    guard, _ = station.start_running(
        "sh", "-c", "trap 'sleep 2; exit 3' TERM; echo up; while :; do sleep 1; done"
    )
    wait_for(lambda: guard.printed == "up\n", "Harmony")
    station.agent.tell_exit(OVER)
    wait_for(lambda: "ending Harmony" in guard.said, "the end's beginning")
    station.agent.clear_exit()
    assert guard.code() == 3


def test_exit_that_comes_with_the_start_is_heeded(station: Station) -> None:
    """Wherever `exit` falls between the last look and the start, Harmony does not stay."""
    for step in range(0, 40, 5):
        station.agent.clear_exit()
        station.agent.tell_ready()
        guard = station.start("sleep", "60")
        with pytest.raises(subprocess.TimeoutExpired):
            guard.process.wait(step / 1000)
        station.agent.tell_exit(OVER)
        assert guard.code(limit=5.0) == 77
        assert not station.agent.harmony_runs()


def test_ending_guard_does_not_hold_its_output_open(station: Station) -> None:
    """Who reads the guard's output sees its end with the guard's end, not a second later."""
    station.agent.tell_ready()
    started = time.monotonic()
    ended = subprocess.run(
        ["sh", "-c", f"sh {station.script} sh -c 'sleep 0.2; echo up' 2>&1 | cat"],
        env={**os.environ, "HARMONY_AGENT_SIGNAL_DIR": str(station.directory)},
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert ended.stdout == "up\n"
    assert time.monotonic() - started < 0.9  # a `sleep` of the watcher takes a second


def test_standard_input_is_harmonys(station: Station, shell: tuple[str, ...]) -> None:
    """A command that reads gets what the guard gets, although it runs in the background."""
    station.agent.tell_ready()
    ended = subprocess.run(
        [*shell, station.script, "cat"],
        env={**os.environ, "HARMONY_AGENT_SIGNAL_DIR": str(station.directory)},
        input="words\n",
        capture_output=True,
        text=True,
        timeout=10,
        check=True,
    )
    assert ended.stdout == "words\n"


def test_closed_standard_input_is_no_obstacle(station: Station, shell: tuple[str, ...]) -> None:
    """A guard that was started without standard input starts Harmony with an empty one."""
    station.agent.tell_ready()
    closing = ("sh", "-c", 'exec "$@" <&-', "sh")
    guard = station.start("cat", shell=shell, prefix=closing)
    assert guard.code() == 0, guard.said


def test_costs_next_to_no_cpu(station: Station) -> None:
    """The guard and its looks take less than one percent of a core."""
    guard, pid = station.start_running("sleep", "60")
    own = {guard.process.pid, *_children(guard.process.pid)} - {pid}
    before = sum(_ticks(process) for process in own)
    with pytest.raises(subprocess.TimeoutExpired):
        guard.process.wait(3.0)
    spent = sum(_ticks(process) for process in own) - before
    assert spent <= 3  # of 100 ticks a second, in three seconds


def _children(pid: int) -> set[int]:
    return {int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def _ticks(pid: int) -> int:
    """CPU time of a process and of its children that ended, in clock ticks (proc(5)); 0 if it has
    ended itself: its parent has the time now."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except FileNotFoundError:
        return 0
    return sum(int(field) for field in fields[11:15])


def test_reaps_orphans_as_process_1(station: Station, shell: tuple[str, ...]) -> None:
    """What Harmony's children leave behind does not pile up as zombies."""
    unshare = ("unshare", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
    probe = subprocess.run([*unshare, "true"], check=False, capture_output=True, text=True)
    if probe.returncode:
        pytest.skip(f"this machine gives no process namespace: {probe.stderr.strip()}")
    station.agent.tell_ready()
    # The inner shells end at once; what they started is adopted by process 1 and ends later.
    work = (
        "for i in 1 2 3; do sh -c 'sleep 0.2 &'; done; sleep 0.8; "
        "grep -s ^State: /proc/[0-9]*/status"
    )
    guard = station.start("sh", "-c", work, shell=shell, prefix=unshare)
    assert guard.code() == 0
    assert "State:\tS" in guard.printed
    assert "zombie" not in guard.printed
