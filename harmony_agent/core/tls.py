"""Which certificates the agent trusts: the system's, and the customer's on top."""

import ssl
from functools import lru_cache
from pathlib import Path

from harmony_agent.core.durable import write_durably

__all__ = ["client_context", "combined_bundle"]


@lru_cache(maxsize=8)
def _context(bundles: tuple[tuple[Path, int], ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    for bundle, _ in bundles:
        context.load_verify_locations(cafile=bundle)
    return context


def client_context(*bundles: Path | None) -> ssl.SSLContext:
    """A verifying client context: the system's authorities and those of `bundles` (PEM files).

    Contexts are shared as long as the bundle files do not change: loading the system's 140
    certificates costs 15 ms and 1 MiB.

    Raises OSError or ssl.SSLError if a bundle can't be read.
    """
    named = tuple((b, b.stat().st_mtime_ns) for b in bundles if b is not None)
    return _context(named)


def combined_bundle(directory: Path, *bundles: Path | None) -> Path | None:
    """One PEM file in `directory` with the system's authorities and `bundles`, for clients that
    take only a path; None if there is nothing to add to the system's.

    Raises OSError if a bundle can't be read or `directory` can't be written.
    """
    extra = [b.read_bytes() for b in bundles if b is not None]
    if not extra:
        return None
    paths = ssl.get_default_verify_paths()
    system = Path(paths.cafile).read_bytes() if paths.cafile else b""
    target = directory / "ca-bundle.pem"
    write_durably(target, b"\n".join([system, *extra]), mode=0o644)
    return target
