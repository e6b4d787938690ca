"""Google Cloud Storage, by its JSON API over httpx.

Used directly: gcsfs retries six times with pauses up to half a minute, refreshes tokens on the
event loop, and costs 33 MiB more.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote

import httpx

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
from harmony_agent.repositories.google_token import GoogleToken
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT, PARALLEL
from harmony_agent.repositories.names import check_path
from harmony_agent.repositories.objects import Beat, ObjectRepository
from harmony_agent.settings.model import GcpBucketRepository

__all__ = ["GcpBucketConnector"]

_GOOGLE: Final = "https://storage.googleapis.com"


class GcpBucketConnector(ObjectRepository):
    """A folder of a bucket.

    Credentials: the service account's key, else the environment's identity; with an endpoint of
    one's own (an emulator) and no key, none.
    """

    kind: ClassVar[str] = "gcpbucket"

    def __init__(
        self, settings: GcpBucketRepository, folder: str, *, ca_bundle: Path | None, **_: object
    ) -> None:
        super().__init__(settings.root / folder)
        self._settings = settings
        self._ca_bundle = ca_bundle
        self._server = (settings.endpoint or _GOOGLE).rstrip("/")
        bucket = f"b/{quote(settings.bucket, safe='')}"
        self._bucket_url = f"{self._server}/storage/v1/{bucket}"
        self._upload_url = f"{self._server}/upload/storage/v1/{bucket}/o"
        self._client: httpx.AsyncClient | None = None
        self._token: GoogleToken | None = None

    @property
    def location(self) -> str:
        """See Repository."""
        return f"gs://{self._settings.bucket}/{self._root}"

    def _check(self, path: str) -> None:
        check_path(path)

    async def _connect(self) -> None:
        if self._client is None:
            trust = client_context(self._settings.ca_bundle, self._ca_bundle)
            key = self._settings.account_key
            if key or not self._settings.endpoint:
                self._token = GoogleToken(key.get_secret_value() if key else None, trust)
            self._client = httpx.AsyncClient(
                verify=trust,
                timeout=httpx.Timeout(CONTROL_LIMIT, connect=CONNECT, pool=None),
                limits=httpx.Limits(max_connections=PARALLEL, keepalive_expiry=60),
            )
        await self._prove_bucket()

    async def _prove_bucket(self) -> None:
        """By listing, which needs no right beyond those on objects."""
        listing = {"maxResults": "1", "fields": "nextPageToken", "prefix": self._root}
        await self._ask("GET", f"{self._bucket_url}/o", params=listing)

    async def close(self) -> None:
        """See Repository."""
        if self._token:
            self._token.close()
        if self._client:
            await self._client.aclose()
        self._client = self._token = None

    def _object_url(self, key: str) -> str:
        return f"{self._bucket_url}/o/{quote(key, safe='')}"

    async def _request(self, method: str, url: str, **more: Any) -> httpx.Request:
        assert self._client is not None, "open() comes first"
        headers = await self._token.headers() if self._token else {}
        return self._client.build_request(method, url, headers=headers, **more)

    async def _ask(self, method: str, url: str, **more: Any) -> Any:
        """Send a request and parse the answer; raises httpx.HTTPStatusError for refusals."""
        assert self._client is not None, "open() comes first"
        answer = await self._client.send(await self._request(method, url, **more))
        answer.raise_for_status()
        return answer.json() if answer.content else None

    async def _head(self, key: str) -> Entry | None:
        fields = {"fields": "size,generation"}
        try:
            found = await self._ask("GET", self._object_url(key), params=fields)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 404:
                raise
            await self._prove_bucket()  # the answer for a missing bucket is 404 as well
            return None
        return Entry(key, int(found["size"]), Token(found["generation"]))

    async def _get(self, key: str, beat: Beat) -> Content:
        assert self._client is not None, "open() comes first"
        request = await self._request("GET", self._object_url(key), params={"alt": "media"})
        answer = await self._client.send(request, stream=True)
        try:
            if answer.status_code == 404:
                await self._prove_bucket()
            answer.raise_for_status()
            chunks = []
            async for chunk in answer.aiter_bytes():
                chunks.append(chunk)
                beat()
        finally:
            await answer.aclose()
        return Content(b"".join(chunks), Token(answer.headers["x-goog-generation"]))

    async def _put(self, key: str, data: bytes, token: Token | None) -> Token:
        condition = {"uploadType": "media", "name": key, "ifGenerationMatch": token or "0"}
        written = await self._ask("POST", self._upload_url, params=condition, content=data)
        return Token(written["generation"])

    async def _remove(self, key: str, token: Token) -> None:
        condition = {"ifGenerationMatch": token}
        await self._ask("DELETE", self._object_url(key), params=condition)

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        query = {"prefix": prefix, "fields": "nextPageToken,items(name,size,generation)"}
        while True:
            page = await self._ask("GET", f"{self._bucket_url}/o", params=query)
            yield [
                Entry(item["name"], int(item["size"]), Token(item["generation"]))
                for item in page.get("items", ())
            ]
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, httpx.HTTPStatusError):
            return self._answered(error.response, what)
        if isinstance(error, httpx.TimeoutException):
            return OutcomeUnknown(f"{what}: {self._server} did not answer in time")
        if found := connection_error(error, what, self._server):
            return found
        if isinstance(error, httpx.ConnectError):
            return Unavailable(f"{what}: {self._server} can't be reached")
        return OutcomeUnknown(f"{what}: {type(error).__name__}: {error}")

    def _answered(self, answer: httpx.Response, what: str) -> AgentError:
        """The agent's error for an answer of the server."""
        status = answer.status_code
        if status == 401:
            return Refused(
                f"{what}: Google does not accept the credentials; check googleAccountKey"
            )
        if status == 403:
            return Refused(
                f"{what}: permission denied; the role Storage Object Admin on the bucket is needed"
            )
        if status == 404 and answer.request.url.path.endswith("/o"):
            return Refused(f"{what}: there is no bucket {self._settings.bucket}; create it")
        if status == 404:
            return Absent(f"{what}: there is no such object")
        if status in (409, 412):
            return PreconditionFailed(f"{what}: somebody else was first")
        if status in (408, 429, 503):
            return Unavailable(f"{what}: Google is busy ({status})", retry_after=_seconds(answer))
        if status >= 500:
            return OutcomeUnknown(f"{what}: {self._server} answered {status}")
        return Refused(f"{what}: {self._server} answered {status}")


def _seconds(answer: httpx.Response) -> float | None:
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isdecimal() else None
