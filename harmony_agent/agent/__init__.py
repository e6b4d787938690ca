"""Builds the root tasks and runs them: start, serve, drain."""

from harmony_agent.agent.agent import Agent

__all__ = ["Agent"]
