"""Where the license record is kept: the configuration repository, and a copy in the state
directory. Both are protected by an HMAC keyed from the verification code."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson

from harmony_agent.core.durable import write_durably
from harmony_agent.core.errors import Absent, OutcomeUnknown
from harmony_agent.core.json_shape import parse
from harmony_agent.core.threads import Workers
from harmony_agent.license import metrics
from harmony_agent.license.clock import Meter, Moment
from harmony_agent.license.courier import Done
from harmony_agent.license.identity import LicenseIdentity
from harmony_agent.license.record import EMPTY, OutageKind, Record, salvage
from harmony_agent.repositories.interface import Repository, Token
from harmony_agent.repositories.layout import CONTROL

__all__ = ["RECORD_PATH", "Copy", "Memory", "RecordKeeper"]

log = logging.getLogger(__name__)

RECORD_PATH: Final = f"{CONTROL}/license.json"

_FORMAT: Final = 1
_LOCAL_LIMIT: Final = 20.0  # seconds for the state directory, a local disk
_OTHER_LICENSES: Final = 3  # kept in the shared file while secrets are being rotated


@dataclass(frozen=True, slots=True)
class Memory:
    """What one node remembers across restarts: its copy of the record, which outage counts and
    how much of it has elapsed, the mails asked for, the time, and the mails and tickets of late."""

    record: Record
    moment: Moment
    counts: OutageKind | None = None
    meter: Meter | None = None
    mailed: tuple[str, ...] = ()
    history: tuple[Done, ...] = ()


Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class Copy:
    """The repository's copy as it was read: the record, the whole file's other licenses, and the
    token to replace it by (None: there is no file)."""

    record: Record
    others: dict[str, Any]
    token: Token | None


class RecordKeeper:
    """Reads and writes both copies for one license."""

    def __init__(self, identity: LicenseIdentity, state_dir: Path, workers: Workers) -> None:
        self._identity = identity
        self._path = state_dir / "license.json"
        self._workers = workers

    async def recall(self, now: float) -> tuple[Record, Memory | None]:
        """The local copy: its record, and the whole of it unless its protection fails.

        A copy that can't be read is told and counts as none.
        """
        try:
            data = await self._workers.run(_LOCAL_LIMIT, self._path.read_bytes)
        except FileNotFoundError:
            return EMPTY, None
        except (OSError, OutcomeUnknown) as error:
            log.error("the license record in the state directory can't be read: %s", error)
            return EMPTY, None
        document = _object(data)
        if document.get("license", self._identity.id) != self._identity.id:
            return EMPTY, None  # of another license: this one starts afresh
        memory = _parse(Memory, document.get("memory"))
        if memory is not None and self._is_signed(document, "memory"):
            return memory.record, memory
        record = EMPTY if memory is None else salvage(memory.record, EMPTY, now)
        _alarm(str(self._path), record)
        return record, None

    async def remember(self, memory: Memory) -> None:
        """Replace the local copy; that it can't be written is told, not raised: the license is
        judged all the same, and the repository's copy stands."""
        document = self._sign("memory", asdict(memory))
        try:
            await self._workers.run(_LOCAL_LIMIT, write_durably, self._path, orjson.dumps(document))
        except (OSError, OutcomeUnknown) as error:
            log.error("the license record can't be written to the state directory: %s", error)

    async def fetch(self, repository: Repository, known: Record, now: float) -> Copy:
        """The repository's copy. `known` is what is known for sure, to judge a copy by whose
        protection fails. Raises the repository's errors, but for Absent."""
        try:
            content = await repository.read(RECORD_PATH)
        except Absent:
            return Copy(EMPTY, {}, None)
        licenses = _object(content.data).get("licenses")
        if not isinstance(licenses, dict):
            _alarm(f"{repository.location}: {RECORD_PATH}", EMPTY)
            return Copy(EMPTY, {}, content.token)
        others = {key: entry for key, entry in licenses.items() if key != self._identity.id}
        entry = licenses.get(self._identity.id)
        if entry is None:
            return Copy(EMPTY, others, content.token)
        entry = {**entry, "license": self._identity.id} if isinstance(entry, dict) else {}
        record = _parse(Record, entry.get("record"))
        if record is None or not self._is_signed(entry, "record"):
            record = EMPTY if record is None else salvage(record, known, now)
            _alarm(f"{repository.location}: {RECORD_PATH}", record)
        return Copy(record, others, content.token)

    async def publish(self, repository: Repository, record: Record, copy: Copy) -> None:
        """Replace the repository's copy as `copy` saw it. Raises the repository's errors:
        PreconditionFailed if another node was first."""
        entry = self._sign("record", asdict(record))
        del entry["license"]  # it is the key already
        kept = dict(list(copy.others.items())[-_OTHER_LICENSES:])
        document = {"format": _FORMAT, "licenses": {**kept, self._identity.id: entry}}
        data = orjson.dumps(document, option=orjson.OPT_INDENT_2)
        if copy.token is None:
            await repository.create(RECORD_PATH, data)
        else:
            await repository.replace(RECORD_PATH, data, copy.token)

    def _sign(self, name: str, value: Any) -> dict[str, Any]:
        signed = {"license": self._identity.id, name: value}
        return {**signed, "keyId": self._identity.key_id, "hmac": self._identity.sign(signed)}

    def _is_signed(self, document: dict[str, Any], name: str) -> bool:
        signed = {"license": self._identity.id, name: document.get(name)}
        return document.get("keyId") == self._identity.key_id and self._identity.signed(
            signed, document.get("hmac")
        )


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _parse(kind: type[Parsed], value: Any) -> Parsed | None:
    try:
        return parse(kind, value)
    except ValueError:
        return None


def _alarm(place: str, used: Record) -> None:
    metrics.RECORD_ALARMS.inc()
    log.error(
        "the license record was changed by somebody else, or with another verification code: %s",
        "only the start of the running outage is used" if used.outages else "it is ignored",
        extra={"place": place},
    )
