"""Access tokens for Azure Storage, by azure-identity in a thread: it blocks."""

import time
from typing import Final

from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError, DefaultAzureCredential

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.repositories.limits import CONTROL_LIMIT

__all__ = ["AzureToken"]

_SCOPE: Final = "https://storage.azure.com/.default"
_EARLY: Final = 300.0  # seconds before it expires that a new token is got


class AzureToken:
    """The `authorization` header, renewed before it expires."""

    def __init__(self) -> None:
        self._credential = DefaultAzureCredential()
        self._is_spent = False  # it would give a token again that Azure takes no more
        self._workers = Workers("azure-token", 1)
        self._token: AccessToken | None = None

    async def header(self) -> str:
        """Raises Refused (no identity, or it is not accepted) or Unavailable (service silent)."""
        if self._token is None or self._token.expires_on - _EARLY < time.time():
            self._token = await self._workers.run(CONTROL_LIMIT, self._renewed)
        return f"Bearer {self._token.token}"

    def _renewed(self) -> AccessToken:
        if self._is_spent:
            self._credential.close()
            self._credential, self._is_spent = DefaultAzureCredential(), False
        try:
            return self._credential.get_token(_SCOPE)
        except CredentialUnavailableError as error:
            raise Refused("no identity found; set accessKey or give the pod an identity") from error
        except ServiceRequestError as error:
            raise Unavailable("Azure's token service can't be reached") from error
        except ClientAuthenticationError as error:
            raise Refused(
                "Azure gives no token; set accessKey or give the pod an identity"
            ) from error

    def forget(self) -> None:
        """Azure does not accept the token any more, whatever our clock says. By that same clock
        azure-identity remembers it."""
        self._token, self._is_spent = None, True

    def close(self) -> None:
        """Give back thread and connections."""
        self._workers.close()
        self._credential.close()
