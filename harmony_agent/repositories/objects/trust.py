"""Which certificates an object store's connector trusts."""

import ssl
from pathlib import Path

from harmony_agent.core.errors import Refused
from harmony_agent.core.tls import client_context

__all__ = ["trusting"]


def trusting(*bundles: Path | None) -> ssl.SSLContext:
    """A verifying context with the system's authorities and those of `bundles`. Raises Refused if
    one of them can't be used: else it would seem to be the server that is at fault."""
    try:
        return client_context(*bundles)
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(str(bundle) for bundle in bundles if bundle is not None)
        is_tls = isinstance(error, ssl.SSLError)
        why = "it holds no certificate" if is_tls else error.strerror or str(error)
        raise Refused(
            f"{named} can't be used ({why}); caBundle should name a PEM file of CA certificates"
        ) from error
