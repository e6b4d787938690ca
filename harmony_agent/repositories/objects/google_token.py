"""Access tokens for Google Cloud Storage, by google-auth in a thread: it blocks."""

import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

import google.auth
import httpx
from google.auth import transport
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, TransportError
from google.oauth2 import service_account

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.causes import connection_error
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT

__all__ = ["GoogleToken"]

_SCOPES: Final = ("https://www.googleapis.com/auth/devstorage.read_write",)


class _Response(transport.Response):
    """google-auth's view of an answer."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    @property
    def status(self) -> int:
        return self._answer.status_code

    @property
    def headers(self) -> Mapping[str, str]:
        return self._answer.headers

    @property
    def data(self) -> bytes:
        return self._answer.content


class _Transport(transport.Request):
    """google-auth's transport over httpx: saves every pod a second HTTP library."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._client = httpx.Client(verify=trust, timeout=CONNECT)

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        **_: Any,
    ) -> _Response:
        try:
            return _Response(
                self._client.request(
                    method, url, content=body, headers=headers, timeout=timeout or CONNECT
                )
            )
        except httpx.HTTPError as error:
            raise TransportError(error) from error  # type: ignore[no-untyped-call]  # no types

    def close(self) -> None:
        self._client.close()


class GoogleToken:
    """The `Authorization` header, renewed before it expires."""

    def __init__(self, key: str | None, trust: ssl.SSLContext) -> None:
        """`key` is a service account's key file as JSON; None: the environment's identity."""
        self._key = key
        self._transport = _Transport(trust)
        self._workers = Workers("google-token", 1)
        self._credentials: Credentials | None = None

    async def headers(self) -> dict[str, str]:
        """Raises Refused (key or identity not accepted) or Unavailable (token service silent)."""
        credentials = self._credentials
        if credentials is None or not credentials.valid:
            credentials = await self._workers.run(CONTROL_LIMIT, self._renewed)
        return {"Authorization": f"Bearer {credentials.token}"}

    def _renewed(self) -> Credentials:
        try:
            credentials = self._credentials or self._find()
            if not credentials.valid:
                credentials.refresh(self._transport)  # type: ignore[no-untyped-call]  # no types
        except DefaultCredentialsError as error:
            raise Refused(
                "no Google identity found; set googleAccountKey or give the pod an identity"
            ) from error
        except TransportError as error:
            raise _unreached(error) from error
        except GoogleAuthError as error:
            if getattr(error, "retryable", False):
                raise Unavailable("Google's token service is out of order") from error
            raise Refused(
                "Google does not accept googleAccountKey: it may be revoked, or this machine's "
                "clock may be off"
            ) from error
        except ValueError as error:
            raise Refused("googleAccountKey holds no usable private key") from error
        self._credentials = credentials
        return credentials

    def _find(self) -> Credentials:
        if self._key is None:
            found, _ = google.auth.default(scopes=_SCOPES, request=self._transport)
            return found
        return service_account.Credentials.from_service_account_info(  # type: ignore[no-any-return, no-untyped-call]  # as above
            json.loads(self._key), scopes=_SCOPES
        )

    def forget(self) -> None:
        """Google does not accept the token any more, whatever our clock says."""
        self._credentials = None

    def close(self) -> None:
        """Give back thread and connections."""
        self._workers.close()
        self._transport.close()


def _unreached(error: TransportError) -> AgentError:
    found = connection_error(error, "can't get a token", "Google's token service")
    if isinstance(found, Refused):  # a certificate: a person has to act
        return found
    return Unavailable(str(found or f"Google's token service can't be reached: {error}"))
