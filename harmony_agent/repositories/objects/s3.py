"""Amazon S3 and compatible servers, by their REST API."""

import asyncio
import hashlib
import ipaddress
import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import unquote_plus, urlsplit

from harmony_agent.core.errors import AgentError
from harmony_agent.repositories.http.client import Answer, HttpClient
from harmony_agent.repositories.http.connection import Beat, Stream, no_beat
from harmony_agent.repositories.http.errors import Denied, exchange_error
from harmony_agent.repositories.http.request import quoted
from harmony_agent.repositories.interface import Content, Download, Entry, Token
from harmony_agent.repositories.objects.aws_credentials import AwsCredentials
from harmony_agent.repositories.objects.repository import ObjectRepository
from harmony_agent.repositories.objects.s3_errors import EXPIRED, WRONG_KEY, denied_by_s3
from harmony_agent.repositories.objects.server_clock import ServerClock
from harmony_agent.repositories.objects.sigv4 import UNSIGNED, AwsKeys, query_of, signed
from harmony_agent.repositories.objects.store_xml import Page, listing, parsed
from harmony_agent.repositories.objects.trust import trusting
from harmony_agent.settings.model import S3Repository

__all__ = ["S3Connector", "address"]

_DEFAULT_REGION: Final = "us-east-1"  # compatible servers take any
_ENCRYPTION: Final = {"sse-s3": "AES256", "sse-kms": "aws:kms"}
_HASHED: Final = 1024 * 1024  # bytes; to hash a longer body would keep others waiting
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
_HOST_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def address(settings: S3Repository, region: str) -> tuple[str, str]:
    """The server's URL and the path of the bucket on it (empty if the bucket is in the host name).

    A bucket whose name can't stand in a host name or its certificate goes into the path, as do
    those of servers that are named by IP address.
    """
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    url = settings.endpoint or f"{settings.protocol}://s3.{region}.{suffix}"
    parts = urlsplit(url.rstrip("/"))
    bucket = settings.bucket
    in_path = (
        settings.path_style
        or not _HOST_NAME.fullmatch(bucket)
        or (parts.scheme == "https" and "." in bucket)
        or _is_address(parts.hostname or "")
    )
    if in_path:
        return f"{parts.scheme}://{parts.netloc}", f"{parts.path}/{quoted(bucket)}"
    return f"{parts.scheme}://{bucket}.{parts.netloc}", parts.path


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class S3Connector(ObjectRepository):
    """A folder of a bucket. Credentials: the settings' keys, else those of the environment."""

    kind: ClassVar[str] = "s3"

    def __init__(
        self, settings: S3Repository, folder: str, *, ca_bundle: Path | None, **_: object
    ) -> None:
        super().__init__(settings.root / folder)
        self._settings = settings
        self._ca_bundle = ca_bundle
        environment = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
        self._region = settings.region or environment or _DEFAULT_REGION
        self._url, self._bucket = address(settings, self._region)
        self._clock = ServerClock(self._server)
        self._client: HttpClient | None = None
        self._keys: AwsKeys | AwsCredentials | None = None
        self._encryption = self._encryption_headers()

    @property
    def location(self) -> str:
        """See Repository."""
        return f"s3://{self._settings.bucket}/{self._root}"

    @property
    def _server(self) -> str:
        return self._settings.endpoint or f"s3.{self._region}"

    def _encryption_headers(self) -> dict[str, str]:
        settings = self._settings
        if settings.encryption == "none":
            return {}
        headers = {"x-amz-server-side-encryption": _ENCRYPTION[settings.encryption]}
        if settings.encryption == "sse-kms" and settings.kms_key:
            headers["x-amz-server-side-encryption-aws-kms-key-id"] = settings.kms_key
        return headers

    async def _connect(self) -> None:
        if self._client is None:
            trust = trusting(self._settings.ca_bundle, self._ca_bundle)
            settings = self._settings
            if settings.access_key and settings.secret_access_key:
                secret = settings.secret_access_key.get_secret_value()
                self._keys = AwsKeys(settings.access_key, secret)
            else:
                self._keys = AwsCredentials(self._region, trust)
            self._client = HttpClient(self._url, trust)
        await self._prove_bucket()

    async def _prove_bucket(self) -> None:
        """Not by HeadBucket: the answer to a HEAD can't say what is wrong."""
        await self._page({"list-type": "2", "max-keys": "1", "prefix": self._root})

    async def close(self) -> None:
        """See Repository."""
        if self._client:
            self._client.close()
        self._client = self._keys = None

    def _target(self, key: str) -> str:
        return f"{self._bucket}/{quoted(key)}"

    async def _signed(
        self,
        request: tuple[str, str, str],
        headers: Mapping[str, str],
        payload_hash: str,
    ) -> dict[str, str]:
        assert self._client is not None, "open() comes first"
        keys = self._keys
        if isinstance(keys, AwsCredentials):
            keys = await keys.keys()
        assert keys is not None, "open() comes first"
        named = {"host": self._client.authority, **headers}
        return signed(keys, self._region, self._clock.now(), request, named, payload_hash)

    async def _ask(
        self,
        method: str,
        key: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Stream = b"",
        beat: Beat = no_beat,
    ) -> Answer:
        """Send a request; raises Denied unless the answer is a success."""
        path, text = self._target(key), query_of(query) if query else ""
        payload_hash = await _hash(body)
        target = f"{path}?{text}" if text else path

        async def attempt() -> Answer:
            named = await self._signed((method, path, text), headers or {}, payload_hash)
            assert self._client is not None, "open() comes first"
            return await self._client.ask(method, target, named, body, beat)

        answer = await attempt()
        if self._clock.corrected(answer) and isinstance(body, bytes):
            answer = await attempt()
        if answer.status // 100 != 2:
            raise self._denied(answer)
        return answer

    def _denied(self, answer: Answer) -> Denied:
        try:
            fields = parsed(answer.body).fields if answer.body else {}
        except ValueError:
            fields = {}
        code = fields.get("Code", "")
        if code in EXPIRED | WRONG_KEY and isinstance(self._keys, AwsCredentials):
            self._keys.forget()
        return Denied(answer, code, fields.get("Message", ""))

    async def _head(self, key: str) -> Entry | None:
        try:
            answer = await self._ask("HEAD", key)
        except Denied as denied:
            if denied.status != 404:
                raise
            await self._prove_bucket()  # a HEAD answers 404 for a missing bucket as well
            return None
        return Entry(key, int(answer.headers["content-length"]), Token(answer.headers["etag"]))

    async def _get(self, key: str, beat: Beat) -> Content:
        answer = await self._ask("GET", key, beat=beat)
        return Content(answer.body, Token(answer.headers["etag"]))

    async def _open(self, key: str, resources: AsyncExitStack) -> Download:
        path = self._target(key)
        headers = await self._signed(("GET", path, ""), {}, _EMPTY)
        assert self._client is not None, "open() comes first"
        answer = await resources.enter_async_context(self._client.stream("GET", path, headers))
        if answer.status != 200:
            self._clock.corrected(answer)
            raise self._denied(await answer.whole())
        size = int(answer.headers["content-length"])
        return Download(size, Token(answer.headers["etag"]), answer.pieces)

    async def _put(self, key: str, body: bytes | Stream, token: Token | None, beat: Beat) -> Token:
        # Long ones, too, go in one request, of 5 GiB at most: its condition holds on every server
        # that knows conditions, that of an upload in parts not on SeaweedFS 4, where of four
        # racing uploads two were accepted.
        condition = {"if-none-match": "*"} if token is None else {"if-match": token}
        headers = {**condition, **self._encryption}
        answer = await self._ask("PUT", key, headers=headers, body=body, beat=beat)
        return Token(answer.headers["etag"])

    async def _remove(self, key: str, token: Token) -> None:
        await self._ask("DELETE", key, headers={"if-match": token})

    async def _page(self, query: Mapping[str, str]) -> Page:
        return listing((await self._ask("GET", "", query)).body, "ListBucketResult", "Contents")

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        # XML can't carry every character that a foreign writer's name may have.
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url"}
        while True:
            page = await self._page(query)
            unquoted = unquote_plus if page.fields.get("EncodingType") == "url" else str
            yield [
                Entry(unquoted(row["Key"]), int(row["Size"]), Token(row["ETag"]))
                for row in page.rows
            ]
            if page.fields.get("IsTruncated") != "true":
                return
            query["continuation-token"] = page.fields["NextContinuationToken"]

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, Denied):
            return denied_by_s3(error, what, self._server, self._settings.bucket)
        return exchange_error(error, what, self._server)


async def _hash(body: bytes | Stream) -> str:
    if isinstance(body, Stream):
        return UNSIGNED
    if len(body) <= _HASHED:
        return hashlib.sha256(body).hexdigest() if body else _EMPTY
    return (await asyncio.to_thread(hashlib.sha256, body)).hexdigest()
