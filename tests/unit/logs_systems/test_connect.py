"""From settings to the log system, and what that costs."""

import subprocess
import sys
from pathlib import Path

import pytest

from harmony_agent.logs.systems.connect import connect
from harmony_agent.settings.model import DatadogLogSystem
from harmony_agent.settings.properties import build


async def test_batch_count_is_an_upper_bound(tmp_path: Path) -> None:
    """Upstream's 10,000 is cut to what the intake takes; less is obeyed."""
    for given, limit in ((10_000, 1000), (50, 50)):
        settings = build(DatadogLogSystem, {"apiKey": "dd-api-key", "batchCount": given})
        system = connect(settings, node="n", state_dir=tmp_path, ca_bundle=None)
        await system.close()
        assert system.limits.entries == limit


@pytest.mark.parametrize("kind", ["splunk", "datadog"])
def test_the_client_libraries_are_not_loaded_for_delivery(kind: str) -> None:
    """They cost 22 and 30 MiB in every pod: only who asks for logs pays."""
    code = (
        f"import sys, harmony_agent.logs.systems.{kind}; "
        "print(any(m.split('.')[0] in ('splunklib', 'datadog_api_client') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
