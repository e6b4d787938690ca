"""Azure Blob Storage, by its SDK on the agent's own event loop.

Used directly: adlfs keeps a loop thread of its own, and a reference to each file system until the
process ends, so that a rotated key would leave the old one's connections behind.
"""

import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, Final

import aiohttp
from azure.core import MatchConditions
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobServiceClient, ContainerClient

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.core.tls import client_context
from harmony_agent.repositories.causes import connection_error
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT, PARALLEL
from harmony_agent.repositories.names import check_azure
from harmony_agent.repositories.objects import Beat, ObjectRepository
from harmony_agent.settings.model import AzureBlobRepository

__all__ = ["AzureBlobConnector"]


# Blobs go up in one request: the SDK names the blocks of larger ones by their offset, so those of
# two writers would be mixed. learn.microsoft.com, "Put Blob", allows 5,000 MiB.
_ONE_REQUEST: Final = 5000 * 1024 * 1024


class _Transport(AioHttpTransport):  # type: ignore[misc]  # azure.core exports it lazily
    """Sends a body piece by piece; as plain bytes a large one would block the event loop."""

    async def send(self, request: Any, **config: Any) -> Any:  # the SDK's two kinds of request
        if isinstance(request.data, bytes) and request.data:
            request.data = io.BytesIO(request.data)
        return await super().send(request, **config)


class AzureBlobConnector(ObjectRepository):
    """A folder of a container. Credentials: the account's key, else the environment's identity."""

    kind: ClassVar[str] = "azureblob"

    def __init__(
        self, settings: AzureBlobRepository, folder: str, *, ca_bundle: Path | None, **_: object
    ) -> None:
        super().__init__(settings.root / folder)
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._resources = AsyncExitStack()
        self._client: ContainerClient | None = None

    @property
    def location(self) -> str:
        """See Repository."""
        return f"azure://{self._settings.account}/{self._settings.container}/{self._root}"

    @property
    def _url(self) -> str:
        settings = self._settings
        return settings.endpoint or f"https://{settings.account}.blob.{settings.endpoint_suffix}"

    @property
    def _container(self) -> ContainerClient:
        assert self._client is not None, "open() comes first"
        return self._client

    def _check(self, path: str) -> None:
        check_azure(path)

    async def _connect(self) -> None:
        if self._client is None:
            self._client = await self._new_client()
        await self._client.get_container_properties()

    async def _new_client(self) -> ContainerClient:
        trust = client_context(self._settings.ca_bundle, self._ca_bundle)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=PARALLEL, ssl=trust),
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=True,
        )
        service = BlobServiceClient(
            self._url,
            credential=await self._credential(),
            transport=_Transport(session=session),
            retry_total=0,
            max_single_put_size=_ONE_REQUEST,
            connection_timeout=CONNECT,
            read_timeout=CONTROL_LIMIT,
        )
        await self._resources.enter_async_context(service)
        return service.get_container_client(self._settings.container)

    async def _credential(self) -> Any:
        if key := self._settings.access_key:
            return {"account_name": self._settings.account, "account_key": key.get_secret_value()}
        from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415 - 20 MiB, rarely used

        return await self._resources.enter_async_context(DefaultAzureCredential())

    async def close(self) -> None:
        """See Repository."""
        self._client = None
        await self._resources.aclose()

    async def _head(self, key: str) -> Entry | None:
        try:
            found = await self._container.get_blob_client(key).get_blob_properties()
        except HttpResponseError as error:
            if error.status_code == 404 and _code(error) != "ContainerNotFound":
                return None
            raise
        return Entry(key, found.size, Token(found.etag))

    async def _get(self, key: str, beat: Beat) -> Content:
        download = await self._container.get_blob_client(key).download_blob(max_concurrency=1)
        chunks = []
        async for chunk in download.chunks():
            chunks.append(chunk)
            beat()
        return Content(b"".join(chunks), Token(download.properties.etag))

    async def _put(self, key: str, data: bytes, token: Token | None) -> Token:
        if token is None:
            condition: dict[str, Any] = {"overwrite": False}
        else:
            condition = {
                "overwrite": True,
                "etag": token,
                "match_condition": MatchConditions.IfNotModified,
            }
        answer = await self._container.get_blob_client(key).upload_blob(
            data, max_concurrency=1, **condition
        )
        return Token(answer["etag"])

    async def _remove(self, key: str, token: Token) -> None:
        await self._container.get_blob_client(key).delete_blob(
            etag=token, match_condition=MatchConditions.IfNotModified
        )

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        blobs = self._container.list_blobs(name_starts_with=prefix or None, include=["metadata"])
        async for page in blobs.by_page():
            yield [
                Entry(blob.name, blob.size, Token(f'"{blob.etag}"'))
                async for blob in page
                if not _is_folder(blob)
            ]

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, HttpResponseError) and error.status_code:
            return self._answered(error, error.status_code, what)
        if found := connection_error(error, what, self._url):
            return found
        if isinstance(error, ClientAuthenticationError):
            return Refused(f"{what}: no identity found; set accessKey or give the pod an identity")
        if isinstance(error, ServiceRequestError):
            return Unavailable(f"{what}: {self._url} can't be reached")
        if isinstance(error, AzureError):
            return OutcomeUnknown(f"{what}: {error.message}")
        return OutcomeUnknown(f"{what}: {type(error).__name__}: {error}")

    def _answered(self, error: HttpResponseError, status: int, what: str) -> AgentError:
        """The agent's error for an answer of the server."""
        code = _code(error)
        if code in ("AuthenticationFailed", "InvalidAuthenticationInfo") or status == 401:
            return Refused(f"{what}: {self._url} does not accept accessKey ({code or status})")
        if code == "ContainerNotFound":
            container = self._settings.container
            return Refused(f"{what}: there is no container {container}; create it")
        if code in ("ContainerBeingDeleted", "ServerBusy") or status in (429, 503):
            return Unavailable(f"{what}: {self._url} is busy ({code})")
        if status == 404:
            return Absent(f"{what}: there is no such blob")
        if status in (409, 412):
            return PreconditionFailed(f"{what}: somebody else was first ({code})")
        if status == 403:
            return Refused(
                f"{what}: permission denied ({code}); check accessKey or the role Storage Blob "
                "Data Contributor, and the account's network rules"
            )
        if status >= 500:
            return OutcomeUnknown(f"{what}: {self._url} answered {status} ({code})")
        return Refused(f"{what}: {self._url} answered {status} ({code})")


def _is_folder(blob: Any) -> bool:
    """A folder of an account with hierarchical namespace; its name has no slash at the end."""
    return bool((blob.metadata or {}).get("hdi_isfolder") == "true")


def _code(error: HttpResponseError) -> str:
    """Azure's own word for the error; the SDK sets it where the answer had one."""
    code = getattr(error, "error_code", None) or ""
    return str(getattr(code, "value", code))
