"""Google Cloud Storage, by its JSON API.

Used directly: gcsfs retries six times with pauses up to half a minute, refreshes tokens on the
event loop, and costs 33 MiB more.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

import orjson

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
from harmony_agent.repositories.interface import Content, Download, Entry, Token
from harmony_agent.repositories.objects.google_token import GoogleToken
from harmony_agent.repositories.objects.repository import ObjectRepository
from harmony_agent.repositories.objects.trust import trusting
from harmony_agent.settings.model import GcpBucketRepository

__all__ = ["GcpBucketConnector"]

_GOOGLE: Final = "https://storage.googleapis.com"
_NO_BUCKET: Final = "no bucket"
# Answers name what they are; a page of whatever is on the way does not.
_LISTING: Final = "storage#objects"
_OBJECT: Final = "storage#object"
_LONGEST_MESSAGE: Final = 300  # characters


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
        above, bucket = urlsplit(self._server).path, quote(settings.bucket, safe="")
        self._objects = f"{above}/storage/v1/b/{bucket}/o"
        self._uploads = f"{above}/upload/storage/v1/b/{bucket}/o"
        self._client: HttpClient | None = None
        self._token: GoogleToken | None = None

    @property
    def location(self) -> str:
        """See Repository."""
        return f"gs://{self._settings.bucket}/{self._root}"

    async def _connect(self) -> None:
        if self._client is None:
            trust = trusting(self._settings.ca_bundle, self._ca_bundle)
            key = self._settings.account_key
            if key or not self._settings.endpoint:
                self._token = GoogleToken(key.get_secret_value() if key else None, trust)
            self._client = HttpClient(self._server, trust)
        await self._prove_bucket()

    async def _prove_bucket(self) -> None:
        """By listing, which needs no right beyond those on objects."""
        listing = {"maxResults": "1", "fields": "kind", "prefix": self._root}
        await self._page(listing)

    async def close(self) -> None:
        """See Repository."""
        if self._token:
            self._token.close()
        if self._client:
            self._client.close()
        self._client = self._token = None

    def _object(self, key: str) -> str:
        return f"{self._objects}/{quote(key, safe='')}"

    async def _headers(self) -> Mapping[str, str]:
        return await self._token.headers() if self._token else {}

    async def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | Stream = b"",
        beat: Beat = no_beat,
    ) -> Answer:
        """Send a request; raises Denied unless the answer is a success."""
        assert self._client is not None, "open() comes first"
        target = f"{path}?{urlencode(query, quote_via=quote)}"
        answer = await self._client.ask(method, target, await self._headers(), body, beat)
        if answer.status // 100 != 2:
            # Listing and writing name no object that could be missing.
            no_bucket = answer.status == 404 and path in (self._objects, self._uploads)
            raise self._denied(answer, _NO_BUCKET if no_bucket else "", _message(answer.body))
        return answer

    def _denied(self, answer: Head, code: str = "", message: str = "") -> Denied:
        if answer.status == 401 and self._token:
            self._token.forget()
        return Denied(answer, code, message)

    async def _head(self, key: str) -> Entry | None:
        try:
            answer = await self._ask("GET", self._object(key), {"fields": "kind,size,generation"})
        except Denied as denied:
            if denied.status != 404:
                raise
            await self._prove_bucket()  # the answer for a missing bucket is 404 as well
            return None
        found = _resource(answer, _OBJECT)
        return Entry(key, int(found["size"]), Token(found["generation"]))

    async def _get(self, key: str, beat: Beat) -> Content:
        try:
            answer = await self._ask("GET", self._object(key), {"alt": "media"}, beat=beat)
        except Denied as denied:
            if denied.status == 404:
                await self._prove_bucket()
            raise
        return Content(answer.body, Token(answer.headers["x-goog-generation"]))

    async def _open(self, key: str, resources: AsyncExitStack) -> Download:
        assert self._client is not None, "open() comes first"
        target = f"{self._object(key)}?alt=media"
        answer = await resources.enter_async_context(
            self._client.stream("GET", target, await self._headers())
        )
        if answer.status == 404:
            await self._prove_bucket()
        if answer.status != 200:
            raise self._denied(answer)
        size = int(answer.headers["content-length"])
        return Download(size, Token(answer.headers["x-goog-generation"]), answer.pieces)

    async def _put(self, key: str, body: bytes | Stream, token: Token | None, beat: Beat) -> Token:
        condition = {"uploadType": "media", "name": key, "ifGenerationMatch": token or "0"}
        answer = await self._ask("POST", self._uploads, condition, body, beat)
        return Token(_resource(answer, _OBJECT)["generation"])

    async def _remove(self, key: str, token: Token) -> None:
        await self._ask("DELETE", self._object(key), {"ifGenerationMatch": token})

    async def _page(self, query: Mapping[str, str]) -> Mapping[str, Any]:
        return _resource(await self._ask("GET", self._objects, query), _LISTING)

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        query = {"prefix": prefix, "fields": "kind,nextPageToken,items(name,size,generation)"}
        while True:
            page = await self._page(query)
            yield [
                Entry(item["name"], int(item["size"]), Token(item["generation"]))
                for item in page.get("items", ())
            ]
            if "nextPageToken" not in page:
                return
            query["pageToken"] = page["nextPageToken"]

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, Denied):
            return self._answered(error, what)
        return exchange_error(error, what, self._server)

    def _answered(self, error: Denied, what: str) -> AgentError:
        """The agent's error for an answer of the server."""
        status = error.status
        told = f" (Google says: {error.message})" if error.message else ""
        if status == 401:
            return Refused(
                f"{what}: Google does not accept the credentials; check googleAccountKey"
            )
        if status == 403:
            return Refused(
                f"{what}: permission denied; the role Storage Object Admin on the bucket is "
                f"needed{told}"
            )
        if error.code == _NO_BUCKET:
            return Refused(f"{what}: there is no bucket {self._settings.bucket}; create it")
        if status == 404:
            return Absent(f"{what}: there is no such object")
        if status in (409, 412):
            return PreconditionFailed(f"{what}: somebody else was first")
        if status in (408, 429, 503):
            return Unavailable(f"{what}: Google is busy ({status})", retry_after=retry_after(error))
        if status >= 500:
            return OutcomeUnknown(f"{what}: {self._server} answered {status}")
        redirect = redirect_error(error, what, self._server)
        return redirect or Refused(f"{what}: {self._server} answered {status}{told}")


def _resource(answer: Answer, kind: str) -> Mapping[str, Any]:
    """What the answer holds, a resource of this kind (cloud.google.com/storage/docs/json_api/v1).
    Raises ValueError if it is anything else."""
    found = orjson.loads(answer.body)
    if not isinstance(found, dict) or found.get("kind") != kind:
        raise ValueError(f"the server's answer is no {kind}")
    return found


def _message(body: bytes) -> str:
    """What Google says about an error, on one line (cloud.google.com/storage/docs/json_api/v1/
    status-codes); empty if it says nothing."""
    try:
        return " ".join(str(orjson.loads(body)["error"]["message"]).split())[:_LONGEST_MESSAGE]
    except (ValueError, KeyError, TypeError):
        return ""
