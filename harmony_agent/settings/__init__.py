"""Environment and secrets become one frozen, checked object; all mistakes in one report."""

from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from harmony_agent.settings.report import Mistake, SettingsError

__all__ = ["Mistake", "Settings", "SettingsError", "load"]
