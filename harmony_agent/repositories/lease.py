"""The lease on this node's runtime folder, kept for as long as the agent runs."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from harmony_agent.core.backoff import Backoff
from harmony_agent.core.errors import Absent, AgentError, PreconditionFailed
from harmony_agent.lifecycle.health import Health
