"""No event is lost on its way to Datadog: the agent is killed forty times while everything else
goes wrong too."""

import random
from pathlib import Path

import pytest

from fixtures.datadog import DatadogStandIn
from fixtures.demo_backends import secret
from tests.system.log_survival import Receiver, survive

pytestmark = pytest.mark.server

KILLS = 40
BATCH = 20  # so that several are on their way with a few hundred events


class MisbehavingDatadog(Receiver):
    """Datadog's logs intake."""

    path = "/api/v2/logs"

    def __init__(self) -> None:
        self._datadog = DatadogStandIn()
        self.faults = self._datadog.app

    def secret(self, url: str) -> str:
        """As Receiver.secret."""
        key = self._datadog.api_key
        return secret("datadog", apiKey=key, host="h", endpoint=url, batchCount=BATCH)

    def received(self) -> list[tuple[str, str]]:
        """As Receiver.received."""
        return [(entry["message"], entry["harmony"]["id"]) for entry in self._datadog.received]

    def misbehave(self, dice: random.Random, written: int) -> None:
        """As Receiver.misbehave."""
        match dice.randrange(6):
            case 0:
                self.faults.add(path=self.path, status=dice.choice([408, 500, 502, 503]))
            case 1:  # a rate limit, which says how long to wait
                header = dice.choice(["Retry-After", "X-RateLimit-Reset"])
                self.faults.add(path=self.path, status=429, headers={header: "1"})
            case 2:  # the key is not known for a moment: events are held
                self.faults.add(path=self.path, status=403)
            case 3:  # sent again in halves
                self.faults.add(path=self.path, status=413, times=dice.randint(1, 3))
            case 4:  # no entry is wrong after all: the halves are taken
                self.faults.add(path=self.path, status=400)
            case _:  # one entry is refused for good, and the answer does not tell which
                self._datadog.poison = f'"event {written + dice.randint(0, 30)}"'

    def behave(self) -> None:
        """As Receiver.behave."""
        self._datadog.poison = None


def test_forty_kills_lose_no_event(tmp_path: Path) -> None:
    """SIGKILL at forty random moments, while Harmony writes and rotates and Datadog answers with
    errors, late, not at all, or refuses single entries: in the end it holds every event, and
    repeats bear the same id."""
    survive(tmp_path, MisbehavingDatadog(), KILLS)
