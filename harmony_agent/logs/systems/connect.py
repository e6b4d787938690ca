"""From the settings of a log system to the log system, importing only the one in use."""

from pathlib import Path

from harmony_agent.logs.systems.interface import LogSystem
from harmony_agent.settings import model

__all__ = ["connect"]


def connect(
    settings: model.LogSystem,
    *,
    node: str,
    state_dir: Path,
    ca_bundle: Path | None,
    system: str | None = None,
) -> LogSystem:
    """The log system that `settings` describe; nothing is sent yet.

    `node` is this host's name, which events bear as their host unless the settings name another
    one; there `%hostname%` stands for it, as in upstream's example. `ca_bundle` is a PEM file with
    certificate authorities added to the operating system's. `system` is Harmony's system name:
    with it, retrieval shows that system's events only, though others may share the index.

    Raises Refused if a certificate file can't be used.
    """
    if isinstance(settings, model.LocalLogSystem):
        from harmony_agent.logs.systems.local import LocalStore  # noqa: PLC0415 - only if in use

        return LocalStore(state_dir, settings)
    host = (settings.host or node).replace("%hostname%", node)
    if isinstance(settings, model.SplunkLogSystem):
        from harmony_agent.logs.systems.splunk import Splunk  # noqa: PLC0415 - only if in use

        return Splunk(settings, host=host, ca_bundle=ca_bundle, system=system)
    from harmony_agent.logs.systems.datadog import Datadog  # noqa: PLC0415 - only if in use

    return Datadog(settings, host=host, state_dir=state_dir, ca_bundle=ca_bundle, system=system)
