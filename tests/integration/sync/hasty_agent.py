"""The real agent with shorter waits, for tests of what takes it minutes otherwise.

    python -m tests.integration.sync.hasty_agent run

is `harmony-agent run`, whose lease lives for 5 s, that tries again within 2 s whatever failed,
looks at all of home every 5 s, and for rotated secrets every second.
"""

from functools import partial

import pytest

from harmony_agent.cli.main import main as harmony_agent
from harmony_agent.repositories.lease import Lease
from harmony_agent.settings.rotation import watch_secrets

_LEASE = 5.0  # seconds
_MARGIN = 1.0
_CEILING = 2.0
_LOOK = 5.0


def main() -> None:
    """Run until killed."""
    patch = pytest.MonkeyPatch()
    patch.setattr("harmony_agent.repositories.lease_machine.MARGIN", _MARGIN)
    patch.setattr("harmony_agent.agent.storage.Lease", partial(Lease, ttl=_LEASE))
    patch.setattr("harmony_agent.agent.agent.watch_secrets", partial(watch_secrets, interval=1.0))
    patch.setattr("harmony_agent.sync.keeper._RESCAN", _LOOK)
    for module in ("agent.opening", "sync.errands", "sync.side"):
        patch.setattr(f"harmony_agent.{module}._REFUSED_CEILING", _CEILING)
        patch.setattr(f"harmony_agent.{module}._CEILING", _CEILING)
    harmony_agent()


if __name__ == "__main__":
    main()
