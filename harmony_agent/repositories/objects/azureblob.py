"""Azure Blob Storage, by its REST API."""

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.repositories.http.answer import Head
from harmony_agent.repositories.http.client import Answer, HttpClient
from harmony_agent.repositories.http.connection import Beat, Stream, no_beat
from harmony_agent.repositories.http.errors import (
    Denied,
    exchange_error,
    redirect_error,
    retry_after,
)
from harmony_agent.repositories.http.request import quoted
from harmony_agent.repositories.interface import Content, Download, Entry, Token
from harmony_agent.repositories.names import check_azure
from harmony_agent.repositories.objects.azure_key import shared_key
from harmony_agent.repositories.objects.repository import ObjectRepository
from harmony_agent.repositories.objects.server_clock import ServerClock
from harmony_agent.repositories.objects.store_xml import Page, listing
from harmony_agent.repositories.objects.trust import trusting
from harmony_agent.settings.model import AzureBlobRepository

if TYPE_CHECKING:
    from harmony_agent.repositories.objects.azure_token import AzureToken

__all__ = ["AzureBlobConnector"]

_LISTING: Final = {"restype": "container", "comp": "list"}
_VERSION: Final = "2023-11-03"  # of the REST API; known to clouds and emulators since then


class AzureBlobConnector(ObjectRepository):
    """A folder of a container. Credentials: the account's key, else the environment's identity."""

    kind: ClassVar[str] = "azureblob"

    def __init__(
        self, settings: AzureBlobRepository, folder: str, *, ca_bundle: Path | None, **_: object
    ) -> None:
        super().__init__(settings.root / folder)
        self._settings = settings
        self._ca_bundle = ca_bundle
        own = f"https://{settings.account}.blob.{settings.endpoint_suffix}"
        self._url = (settings.endpoint or own).rstrip("/")
        self._container = f"{urlsplit(self._url).path}/{quote(settings.container)}"
        self._client: HttpClient | None = None
        self._clock = ServerClock(self._url)
        self._key_of_account = b""
        self._identity: AzureToken | None = None

    @property
    def location(self) -> str:
        """See Repository."""
        return f"azure://{self._settings.account}/{self._settings.container}/{self._root}"

    def _check(self, path: str) -> None:
        check_azure(path)

    async def _connect(self) -> None:
        if self._client is None:
            self._use_credentials()
            trust = trusting(self._settings.ca_bundle, self._ca_bundle)
            self._client = HttpClient(self._url, trust)
        await self._page({**_LISTING, "maxresults": "1"})

    def _use_credentials(self) -> None:
        if key := self._settings.access_key:
            try:
                self._key_of_account = base64.b64decode(key.get_secret_value(), validate=True)
            except binascii.Error as error:
                raise Refused("accessKey is no key of an account: it is not Base64") from error
        elif self._identity is None:
            from harmony_agent.repositories.objects.azure_token import (  # noqa: PLC0415 - 20 MiB, rarely used
                AzureToken,
            )

            self._identity = AzureToken()

    async def close(self) -> None:
        """See Repository."""
        if self._identity:
            self._identity.close()
        if self._client:
            self._client.close()
        self._client = self._identity = None

    def _blob(self, key: str) -> str:
        return f"{self._container}/{quoted(key)}"

    async def _headers(
        self,
        request: tuple[str, str, Mapping[str, str]],
        more: Mapping[str, str],
        size: int,
    ) -> dict[str, str]:
        date = format_datetime(self._clock.now(), usegmt=True)
        headers = {"x-ms-date": date, "x-ms-version": _VERSION, **more}
        if self._identity:
            headers["authorization"] = await self._identity.header()
        else:
            account = self._settings.account
            headers["authorization"] = shared_key(
                account, self._key_of_account, request, headers, size
            )
        return headers

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Stream = b"",
        beat: Beat = no_beat,
    ) -> Answer:
        """Send a request; raises Denied unless the answer is a success."""
        size = len(body) if isinstance(body, bytes) else body.size
        target = f"{path}?{urlencode(query, quote_via=quote)}" if query else path

        async def attempt() -> Answer:
            named = await self._headers((method, path, query or {}), headers or {}, size)
            assert self._client is not None, "open() comes first"
            return await self._client.ask(method, target, named, body, beat)

        answer = await attempt()
        if self._clock.corrected(answer) and isinstance(body, bytes):
            answer = await attempt()
        if answer.status // 100 != 2:
            raise self._denied(answer)
        return answer

    def _denied(self, answer: Head) -> Denied:
        """Azure names the error in a header, so that it is there for HEAD as well."""
        if answer.status == 401 and self._identity:
            self._identity.forget()
        return Denied(answer, answer.headers.get("x-ms-error-code", ""))

    async def _head(self, key: str) -> Entry | None:
        try:
            answer = await self._ask("HEAD", self._blob(key))
        except Denied as denied:
            if denied.status == 404 and denied.code != "ContainerNotFound":
                return None
            raise
        return Entry(key, int(answer.headers["content-length"]), Token(answer.headers["etag"]))

    async def _get(self, key: str, beat: Beat) -> Content:
        answer = await self._ask("GET", self._blob(key), beat=beat)
        return Content(answer.body, Token(answer.headers["etag"]))

    async def _open(self, key: str, resources: AsyncExitStack) -> Download:
        assert self._client is not None, "open() comes first"
        path = self._blob(key)
        headers = await self._headers(("GET", path, {}), {}, 0)
        answer = await resources.enter_async_context(self._client.stream("GET", path, headers))
        if answer.status != 200:
            self._clock.corrected(answer)
            raise self._denied(answer)
        size = int(answer.headers["content-length"])
        return Download(size, Token(answer.headers["etag"]), answer.pieces)

    async def _put(self, key: str, body: bytes | Stream, token: Token | None, beat: Beat) -> Token:
        condition = {"if-none-match": "*"} if token is None else {"if-match": token}
        headers = {"x-ms-blob-type": "BlockBlob", **condition}
        answer = await self._ask("PUT", self._blob(key), headers=headers, body=body, beat=beat)
        return Token(answer.headers["etag"])

    async def _remove(self, key: str, token: Token) -> None:
        await self._ask("DELETE", self._blob(key), headers={"if-match": token})

    async def _page(self, query: Mapping[str, str]) -> Page:
        answer = await self._ask("GET", self._container, query)
        return listing(answer.body, "EnumerationResults", "Blob")

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        query = {**_LISTING, "include": "metadata", "prefix": prefix}
        while True:
            page = await self._page(query)
            yield [
                # Some versions of the service leave the quotes out in listings only.
                Entry(row["Name"], int(row["Content-Length"]), Token(f'"{row["Etag"].strip(_Q)}"'))
                for row in page.rows
                if not _is_folder(row)
            ]
            if not (marker := page.fields.get("NextMarker")):
                return
            query["marker"] = marker

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, Denied):
            return self._answered(error, what)
        return exchange_error(error, what, self._url)

    def _answered(self, error: Denied, what: str) -> AgentError:
        """The agent's error for an answer of the server."""
        code, status = error.code, error.status
        if code in ("AuthenticationFailed", "InvalidAuthenticationInfo") or status == 401:
            given = "the pod's identity" if self._identity else "accessKey"
            return Refused(f"{what}: {self._url} does not accept {given} ({code or status})")
        if code == "ContainerNotFound":
            container = self._settings.container
            return Refused(f"{what}: there is no container {container}; create it")
        if code in ("ContainerBeingDeleted", "ServerBusy") or status in (429, 503):
            return Unavailable(
                f"{what}: {self._url} is busy ({code})", retry_after=retry_after(error)
            )
        if status == 404:
            return Absent(f"{what}: there is no such blob")
        if code == "BlobImmutableDueToPolicy":
            return Refused(
                f"{what}: a policy of the container, or a legal hold, forbids changes; use a "
                "container without"
            )
        if code == "LeaseIdMissing":
            return Unavailable(f"{what}: somebody else holds an Azure lease on the blob")
        if status in (409, 412):
            return PreconditionFailed(f"{what}: somebody else was first ({code})")
        if status == 403:
            return Refused(
                f"{what}: permission denied ({code}); check accessKey or the role Storage Blob "
                "Data Contributor, and the account's network rules"
            )
        if status >= 500 and status != 501:
            return OutcomeUnknown(f"{what}: {self._url} answered {status} ({code})")
        redirect = redirect_error(error, what, self._url)
        return redirect or Refused(f"{what}: {self._url} answered {status} ({code})")


_Q: Final = '"'


def _is_folder(row: Mapping[str, str]) -> bool:
    """A folder of an account with hierarchical namespace; its name has no slash at the end."""
    return row.get("hdi_isfolder") == "true"
