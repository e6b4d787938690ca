"""Amazon S3 and compatible servers, by aiobotocore on the agent's own event loop.

Used directly: of s3fs only the session would be of use here, since its reads and listings hide
errors and conditions.
"""

import hashlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, ClassVar, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
)

from harmony_agent.core.errors import (
    Absent,
    AgentError,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
    Unavailable,
)
from harmony_agent.core.tls import combined_bundle
from harmony_agent.repositories.causes import connection_error
from harmony_agent.repositories.interface import Content, Entry, Token
from harmony_agent.repositories.limits import CONNECT, CONTROL_LIMIT, PARALLEL
from harmony_agent.repositories.names import check_path
from harmony_agent.repositories.objects import Beat, ObjectRepository
from harmony_agent.settings.model import S3Repository

__all__ = ["S3Connector"]

_DEFAULT_REGION: Final = "us-east-1"  # compatible servers take any
_CHUNK: Final = 256 * 1024
_ENCRYPTION: Final = {"sse-s3": "AES256", "sse-kms": "aws:kms"}

# docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_WRONG_KEY: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken"})
_EXPIRED: Final = frozenset({"ExpiredToken", "TokenRefreshRequired", "RequestTimeTooSkewed"})
_WRONG_REGION: Final = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "301", "TemporaryRedirect"}
)
_BUSY: Final = frozenset({"SlowDown", "ServiceUnavailable", "Throttling", "503", "429"})
_CONFLICT: Final = frozenset(
    {"PreconditionFailed", "412", "ConditionalRequestConflict", "OperationAborted", "409"}
)


class S3Connector(ObjectRepository):
    """A folder of a bucket. Credentials: the settings' keys, else those of the environment."""

    kind: ClassVar[str] = "s3"

    def __init__(
        self, settings: S3Repository, folder: str, *, scratch: Path, ca_bundle: Path | None
    ) -> None:
        super().__init__(settings.root / folder)
        self._settings = settings
        self._scratch = scratch
        self._ca_bundle = ca_bundle
        self._resources = AsyncExitStack()
        self._client: Any = None  # aiobotocore has no types
        self._encryption = self._encryption_parameters()

    @property
    def location(self) -> str:
        """See Repository."""
        return f"s3://{self._settings.bucket}/{self._root}"

    @property
    def _server(self) -> str:
        return self._settings.endpoint or f"s3.{self._settings.region or _DEFAULT_REGION}"

    def _check(self, path: str) -> None:
        check_path(path)

    def _encryption_parameters(self) -> dict[str, str]:
        settings = self._settings
        if settings.encryption == "none":
            return {}
        parameters = {"ServerSideEncryption": _ENCRYPTION[settings.encryption]}
        if settings.encryption == "sse-kms" and settings.kms_key:
            parameters["SSEKMSKeyId"] = settings.kms_key
        return parameters

    def _trust(self) -> str | bool:
        """The PEM file of the authorities; botocore's own list would leave out the system's."""
        # Both repositories use one scratch directory and may trust different authorities.
        directory = self._scratch / f"s3-{hashlib.sha256(self.location.encode()).hexdigest()[:8]}"
        if self._settings.ca_bundle or self._ca_bundle:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        bundle = combined_bundle(directory, self._settings.ca_bundle, self._ca_bundle)
        return str(bundle) if bundle else ssl.get_default_verify_paths().cafile or True

    async def _connect(self) -> None:
        if self._client is None:
            self._client = await self._resources.enter_async_context(self._new_client())
        await self._prove_bucket()

    async def _prove_bucket(self) -> None:
        """Not by head_bucket: the answer to a HEAD can't say what is wrong."""
        await self._client.list_objects_v2(
            Bucket=self._settings.bucket, Prefix=self._root, MaxKeys=1
        )

    def _new_client(self) -> Any:
        settings = self._settings
        secret = settings.secret_access_key
        session = get_session()
        # No proxy or profile surprises beyond the standard ones; the instance's own metadata
        # service is part of the credential chain and gets a limit as well.
        session.set_config_variable("metadata_service_timeout", CONNECT)
        return session.create_client(
            "s3",
            region_name=settings.region or os.environ.get("AWS_REGION") or _DEFAULT_REGION,
            endpoint_url=settings.endpoint,
            use_ssl=settings.protocol == "https",
            verify=self._trust(),
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=AioConfig(
                max_pool_connections=PARALLEL,
                connect_timeout=CONNECT,
                read_timeout=CONTROL_LIMIT,
                retries={"total_max_attempts": 1},
                s3={"addressing_style": "path" if settings.path_style else "auto"},
                # Compatible servers do not know the newer checksums.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    async def close(self) -> None:
        """See Repository."""
        self._client = None
        await self._resources.aclose()

    async def _head(self, key: str) -> Entry | None:
        try:
            answer = await self._client.head_object(Bucket=self._settings.bucket, Key=key)
        except ClientError as error:
            if _code(error) not in ("404", "NoSuchKey"):
                raise
            await self._prove_bucket()  # a HEAD answers 404 for a missing bucket as well
            return None
        return Entry(key, answer["ContentLength"], Token(answer["ETag"]))

    async def _get(self, key: str, beat: Beat) -> Content:
        answer = await self._client.get_object(Bucket=self._settings.bucket, Key=key)
        chunks = []
        async with answer["Body"] as body:
            while chunk := await body.read(_CHUNK):
                chunks.append(chunk)
                beat()
        data = b"".join(chunks)
        if len(data) != answer["ContentLength"]:
            raise ConnectionError(f"{len(data)} of {answer['ContentLength']} bytes arrived")
        return Content(data, Token(answer["ETag"]))

    async def _put(self, key: str, data: bytes, token: Token | None) -> Token:
        condition = {"IfNoneMatch": "*"} if token is None else {"IfMatch": token}
        answer = await self._client.put_object(
            Bucket=self._settings.bucket, Key=key, Body=data, **condition, **self._encryption
        )
        return Token(answer["ETag"])

    async def _remove(self, key: str, token: Token) -> None:
        await self._client.delete_object(Bucket=self._settings.bucket, Key=key, IfMatch=token)

    async def _pages(self, prefix: str) -> AsyncIterator[list[Entry]]:
        paginator = self._client.get_paginator("list_objects_v2")
        async for page in paginator.paginate(Bucket=self._settings.bucket, Prefix=prefix):
            yield [
                Entry(item["Key"], item["Size"], Token(item["ETag"]))
                for item in page.get("Contents", ())
            ]

    def _translate(self, error: Exception, what: str) -> AgentError:
        if isinstance(error, ClientError):
            return self._answered(error, what)
        if isinstance(error, NoCredentialsError):
            return Refused(
                f"{what}: no credentials; set accessKey and secretAccessKey, or give the pod a role"
            )
        if found := connection_error(error, what, self._server):
            return found
        if isinstance(error, EndpointConnectionError):
            return Unavailable(f"{what}: {self._server} can't be reached")
        if isinstance(error, BotoCoreError):
            return OutcomeUnknown(f"{what}: {error}")
        return OutcomeUnknown(f"{what}: {type(error).__name__}: {error}")

    def _answered(self, error: ClientError, what: str) -> AgentError:
        """The agent's error for an answer of the server."""
        code = _code(error)
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if code in _WRONG_KEY:
            return Refused(
                f"{what}: {self._server} does not know accessKey or secretAccessKey ({code})"
            )
        if code in _EXPIRED:
            return Refused(f"{what}: the credentials or this machine's clock are off ({code})")
        if code in _WRONG_REGION or status in (301, 307):
            return Refused(f"{what}: the bucket is in another region; correct region ({code})")
        if code == "NoSuchBucket":
            return Refused(f"{what}: there is no bucket {self._settings.bucket}; create it")
        if code in ("404", "NoSuchKey"):
            return Absent(f"{what}: there is no such object")
        if code in _CONFLICT or status in (409, 412):
            return PreconditionFailed(f"{what}: somebody else was first")
        if code in _BUSY or status in (429, 503):
            return Unavailable(f"{what}: {self._server} is busy ({code})")
        if status in (401, 403):
            return Refused(
                f"{what}: permission denied ({code}); allow s3:GetObject, s3:PutObject, "
                "s3:DeleteObject and s3:ListBucket"
            )
        if status >= 500:
            return OutcomeUnknown(f"{what}: {self._server} answered {status} ({code})")
        return Refused(f"{what}: {self._server} answered {status} ({code}): {error}")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
