"""Fixtures of the tests in which the license's loop runs."""

from tests.unit.license.loop_system import postbox, system

__all__ = ["postbox", "system"]
