"""The files that are not in step, each with all that is known of it. Pure bookkeeping.

Looks at home and listings of the repository arrive at different times; the ledger joins them.
What is not in it is in step: 100,000 quiet files cost nothing.
"""

from collections.abc import Callable, Container, Iterator, Mapping

from harmony_agent.repositories.token import Token
from harmony_agent.sync.decisions.compare import Decision, decide
from harmony_agent.sync.decisions.plan import Case
from harmony_agent.sync.decisions.states import (
    BaseRow,
    LocalFile,
    LocalState,
    RemoteFile,
    RemoteState,
)

__all__ = ["Ledger"]


class Ledger:
    """Open cases by path."""

    def __init__(self) -> None:
        self._cases: dict[str, Case] = {}

    def __iter__(self) -> Iterator[Case]:
        return iter(list(self._cases.values()))

    def __len__(self) -> int:
        return len(self._cases)

    def local(self, path: str) -> LocalState:
        """What was last found of `path` in home, if it is not in step."""
        case = self._cases.get(path)
        return None if case is None else case.local

    def clear(self) -> None:
        """Forget everything."""
        self._cases.clear()

    def saw_home(
        self,
        differing: Mapping[str, LocalState],
        rows: Mapping[str, BaseRow],
        looked_at: Callable[[str], bool],
    ) -> None:
        """Home was looked at: `differing` is what is not as in the base (`rows`) among the paths
        that `looked_at` names; the others of them are as in the base."""
        for case in self:
            if looked_at(case.path) and case.path not in differing:
                base = rows.get(case.path)
                self._note(Case(case.path, _local_of(base), base, case.remote))
        for path, local in differing.items():
            base = rows.get(path)
            known = self._cases.get(path)
            remote = known.remote if known is not None else _remote_of(base)
            self._note(Case(path, local, base, remote))

    def saw_repository(
        self,
        entries: Mapping[str, tuple[Token, int]],
        rows: Mapping[str, BaseRow],
        except_for: Container[str],
    ) -> None:
        """The repository was listed: `entries` gives token and size of all its files.

        What we wrote while the listing was under way is in `except_for`: of that it tells nothing.
        """
        paths = self._cases.keys() | rows.keys() | entries.keys()
        for path in paths:
            if path in except_for:
                continue
            entry = entries.get(path)
            base = rows.get(path)
            known = self._cases.get(path)
            if known is None and entry is not None and base is not None and entry[0] == base.token:
                continue
            remote = None if entry is None else RemoteFile(*entry)
            local = known.local if known is not None else _local_of(base)
            self._note(Case(path, local, base, _with_known_content(remote, known)))

    def saw_remote(self, path: str, remote: RemoteState, base: BaseRow | None) -> None:
        """One file of the repository was looked at: `remote` is there (None: nothing is)."""
        known = self._cases.get(path)
        local = known.local if known is not None else _local_of(base)
        if known is None and remote is not None and base is not None and remote.token == base.token:
            return
        self._note(Case(path, local, base, _with_known_content(remote, known)))

    def remote_is(self, path: str, remote: RemoteState) -> None:
        """One file of the repository was looked at again."""
        case = self._cases[path]
        self._note(Case(path, case.local, case.base, remote))

    def settle(self, path: str) -> None:
        """`path` is in step."""
        self._cases.pop(path, None)

    def _note(self, case: Case) -> None:
        if decide(case.local, case.base, case.remote) is Decision.NOTHING:
            self._cases.pop(case.path, None)
        else:
            self._cases[case.path] = case


def _local_of(base: BaseRow | None) -> LocalFile | None:
    return None if base is None else LocalFile(base.sha256, base.size, base.mtime_ns, base.inode)


def _remote_of(base: BaseRow | None) -> RemoteFile | None:
    return None if base is None else RemoteFile(base.token, base.size, base.sha256)


def _with_known_content(remote: RemoteState, known: Case | None) -> RemoteState:
    """Keep a content hash that was read before, as long as the token is the same."""
    if remote is not None and known is not None and known.remote is not None:
        return known.remote if known.remote.token == remote.token else remote
    return remote
