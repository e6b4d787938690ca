"""No event is lost on its way to Splunk: the agent is killed a hundred times while everything else
goes wrong too."""

import random
from pathlib import Path

import pytest

from fixtures.demo_backends import secret
from fixtures.splunk import SplunkStandIn
from tests.system.log_survival import Receiver, survive

pytestmark = [pytest.mark.server, pytest.mark.long]

KILLS = 100


class MisbehavingSplunk(Receiver):
    """Splunk's event collector."""

    path = "/services/collector/event"

    def __init__(self) -> None:
        self._splunk = SplunkStandIn()
        self._hec = self._splunk.hec
        self.faults = self._splunk.app

    def secret(self, url: str) -> str:
        """As Receiver.secret."""
        return secret("splunk", url=url, token=self._hec.token)

    def received(self) -> list[tuple[str, str]]:
        """As Receiver.received."""
        return [(event["message"], event["id"]) for event in self._splunk.events]

    def ask_for_acknowledgment(self) -> None:
        """From now on the token does."""
        self._hec.use_ack = True

    def misbehave(self, dice: random.Random, written: int) -> None:
        """As Receiver.misbehave."""
        match dice.randrange(5):
            case 0:
                self.faults.add(path=self.path, status=dice.choice([500, 502, 503, 429]))
            case 1:  # one event is refused for good, those before it are taken
                self._hec.fail(6, at=dice.randint(0, 30))
            case 2:  # the events before that number are taken
                self._hec.fail(9, at=dice.randint(0, 30))
            case 3:
                self._hec.fail(dice.choice([8, 9, 26]), retry_after=dice.choice([None, "1"]))
            case _:  # matters once acknowledgment is on: a request is lost behind the collector
                self._hec.lost_acks.add(self._hec._next_ack + dice.randint(0, 3))

    def behave(self) -> None:
        """As Receiver.behave."""
        self._hec._script.clear()
        self._hec.lost_acks.clear()


def test_a_hundred_kills_lose_no_event(tmp_path: Path) -> None:
    """SIGKILL at a hundred random moments, while Harmony writes and rotates and Splunk answers
    with errors, late, in part, not at all, or loses what it took: in the end it holds every event,
    and repeats bear the same id. In the second half the token asks for acknowledgment."""
    splunk = MisbehavingSplunk()
    survive(tmp_path, splunk, KILLS, half_way=splunk.ask_for_acknowledgment)
