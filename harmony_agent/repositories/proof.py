"""Proves that a repository does what the agent needs, by doing it."""

import contextlib
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from harmony_agent.core.errors import AgentError, PreconditionFailed, Refused
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.repositories.layout import CONTROL

__all__ = ["Proof", "prove"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Proof:
    """What was proven: write, read, list and delete work, or `prove` would have raised."""

    conditional_writes: bool
    """False: the server ignores preconditions, so of two writers the first can be lost."""


async def prove(repository: Repository) -> Proof:
    """Write, read back, list and delete a probe, and try writes that must be refused.

    Raises what the failed operation raised, with the operation named in the message.
    """
    path = f"{CONTROL}/probe-{secrets.token_hex(8)}"
    first, second = secrets.token_bytes(16), secrets.token_bytes(16)
    try:
        old = await _named("write", repository.create(path, first))
        content = await _named("read", repository.read(path))
        if content.data != first:
            raise Refused(f"{repository.location} returns other bytes than were written")
        listed = await _named("list", repository.list(CONTROL))
        if path not in (entry.path for entry in listed):
            raise Refused(f"{repository.location} does not list a file that was written")
        new = await _named("replace", repository.replace(path, second, content.token))
        conditional = await _refuses_stale_writes(repository, path, old)
        await _named("delete", repository.delete(path, await _present(repository, path, new)))
        return Proof(conditional)
    except BaseException:
        await _clean(repository, path)
        raise


async def _refuses_stale_writes(repository: Repository, path: str, stale: Token) -> bool:
    """Whether creating an existing file and changing an old version are both refused."""
    return (
        await _refused("write", repository.create(path, b"created twice"))
        and await _refused("replace", repository.replace(path, b"stale", stale))
        and await _refused("delete", repository.delete(path, stale))
    )


async def _refused(operation: str, attempt: Awaitable[object]) -> bool:
    try:
        await _named(operation, attempt)
    except PreconditionFailed:
        return True
    return False


async def _present(repository: Repository, path: str, expected: Token) -> Token:
    entry = await repository.stat(path)
    return entry.token if entry else expected


async def _named(operation: str, attempt: Awaitable[T]) -> T:
    try:
        return await attempt
    except AgentError as error:
        error.args = (f"can't {operation} a probe file: {error}",)
        raise


async def _clean(repository: Repository, path: str) -> None:
    with contextlib.suppress(AgentError):
        if entry := await repository.stat(path):
            await repository.delete(path, entry.token)
