"""Where S3 gets its keys from when the settings hold none: the pod's own identity.

The places and their order are those of Amazon's SDKs (docs.aws.amazon.com/sdkref/latest/guide/
standardized-credentials.html), as far as they exist in a container: environment, web identity
(IRSA), shared credentials file, container (ECS, EKS Pod Identity), instance metadata (IMDSv2).
"""

import asyncio
import configparser
import json
import os
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import httpx

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.repositories.limits import CONNECT
from harmony_agent.repositories.objects.sigv4 import AwsKeys
from harmony_agent.repositories.objects.store_xml import parsed

__all__ = ["AwsCredentials"]

_ECS: Final = "http://169.254.170.2"
_IMDS: Final = "http://169.254.169.254"
_IMDS_LIMIT: Final = 1.0  # seconds; it is one hop away or not there
_EARLY: Final = 300.0  # seconds before keys expire that new ones are got
_RETRY: Final = 30.0  # seconds between two tries while the old keys still work


@dataclass(frozen=True, slots=True)
class _Found:
    keys: AwsKeys
    expires: float | None = None
    """Seconds since 1970 on the wall clock; None: never."""


class AwsCredentials:
    """The present keys, renewed before they expire."""

    def __init__(
        self,
        region: str,
        trust: ssl.SSLContext,
        *,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._region = region
        self._trust = trust
        self._environment = environment
        self._clock = clock
        self._found: _Found | None = None
        self._tried = -_RETRY
        self._renewing = asyncio.Lock()

    def forget(self) -> None:
        """Look anew: the server does not accept the keys any more."""
        self._found = None

    async def keys(self) -> AwsKeys:
        """Raises Refused (no place has keys, or it denies them) or Unavailable."""
        if self._is_fresh():
            assert self._found is not None
            return self._found.keys
        async with self._renewing:
            if not self._is_fresh():
                await self._renew()
            assert self._found is not None
            return self._found.keys

    def _is_fresh(self) -> bool:
        found = self._found
        return found is not None and (
            found.expires is None or self._clock() < found.expires - _EARLY
        )

    async def _renew(self) -> None:
        now = self._clock()
        old = self._found
        still_good = old is not None and old.expires is not None and now < old.expires
        if still_good and now - self._tried < _RETRY:
            return
        self._tried = now
        try:
            self._found = await self._look()
        except (Refused, Unavailable):
            if not still_good:
                raise

    async def _look(self) -> _Found:
        for place in (_of_environment, _of_web_identity, _of_file, _of_container, _of_instance):
            if found := await place(self):
                return found
        raise Refused("no credentials; set accessKey and secretAccessKey, or give the pod a role")

    def variable(self, name: str) -> str | None:
        """An environment variable; an empty one counts as not set."""
        return self._environment.get(name) or None

    @property
    def region(self) -> str:
        """For the regional token service."""
        return self._region

    async def fetch(
        self, method: str, url: str, *, limit: float = CONNECT, **more: Any
    ) -> httpx.Response:
        """Ask a credential service; raises httpx.HTTPError. Seldom done, so by httpx."""
        direct = url.startswith("http://")  # link-local addresses are not behind a proxy
        async with httpx.AsyncClient(
            verify=self._trust, timeout=limit, trust_env=not direct
        ) as client:
            return await client.request(method, url, **more)


async def _of_environment(credentials: AwsCredentials) -> _Found | None:
    key = credentials.variable("AWS_ACCESS_KEY_ID")
    secret = credentials.variable("AWS_SECRET_ACCESS_KEY")
    if not key or not secret:
        return None
    return _Found(AwsKeys(key, secret, credentials.variable("AWS_SESSION_TOKEN")))


async def _of_web_identity(credentials: AwsCredentials) -> _Found | None:
    """IAM roles for service accounts: Kubernetes' token against keys, at the token service."""
    file = credentials.variable("AWS_WEB_IDENTITY_TOKEN_FILE")
    role = credentials.variable("AWS_ROLE_ARN")
    if not file or not role:
        return None
    suffix = "amazonaws.com.cn" if credentials.region.startswith("cn-") else "amazonaws.com"
    service = (
        credentials.variable("AWS_ENDPOINT_URL_STS") or f"https://sts.{credentials.region}.{suffix}"
    )
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": credentials.variable("AWS_ROLE_SESSION_NAME")
        or f"harmony-agent-{secrets.token_hex(4)}",
        "WebIdentityToken": _text_of(file),
    }
    what = f"the role {role} of the pod's service account"
    answer = await _ask(
        credentials.fetch(
            "POST",
            service,
            content=urlencode(form),
            headers={"content-type": "application/x-www-form-urlencoded"},
        ),
        what,
    )
    try:
        fields = parsed(answer.content).fields
    except ValueError:
        fields = {}
    return _found(
        {
            "AccessKeyId": fields.get("AccessKeyId"),
            "SecretAccessKey": fields.get("SecretAccessKey"),
            "Token": fields.get("SessionToken"),
            "Expiration": fields.get("Expiration"),
        },
        what,
    )


async def _of_file(credentials: AwsCredentials) -> _Found | None:
    """Keys that stand in a shared credentials file; roles and SSO of profiles are not followed."""
    home = credentials.variable("HOME") or "/"
    path = credentials.variable("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials"
    return _profile(Path(path), credentials.variable("AWS_PROFILE") or "default")


def _profile(path: Path, name: str) -> _Found | None:
    profiles = configparser.RawConfigParser()
    try:
        profiles.read_string(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Refused(f"can't read {path}: {error.strerror}") from error
    except (configparser.Error, UnicodeDecodeError) as error:
        raise Refused(f"{path} is no credentials file; see Amazon's documentation") from error
    if not profiles.has_section(name):
        return None
    section = profiles[name]
    key, secret = section.get("aws_access_key_id"), section.get("aws_secret_access_key")
    return (
        _Found(AwsKeys(key, secret, section.get("aws_session_token"))) if key and secret else None
    )


async def _of_container(credentials: AwsCredentials) -> _Found | None:
    """ECS, and EKS Pod Identity."""
    relative = credentials.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
    url = f"{_ECS}{relative}" if relative else None
    url = url or credentials.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    if not url:
        return None
    file = credentials.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
    token = _text_of(file) if file else credentials.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    headers = {"authorization": token} if token else {}
    what = "the container's role"
    return _found(_json(await _ask(credentials.fetch("GET", url, headers=headers), what)), what)


async def _of_instance(credentials: AwsCredentials) -> _Found | None:
    """The instance's role, if there is a metadata service at all."""
    if (credentials.variable("AWS_EC2_METADATA_DISABLED") or "").lower() == "true":
        return None
    base = (credentials.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT") or _IMDS).rstrip("/")
    base += "/latest"
    lifetime = {"x-aws-ec2-metadata-token-ttl-seconds": "21600"}
    try:
        answer = await credentials.fetch(
            "PUT", f"{base}/api/token", limit=_IMDS_LIMIT, headers=lifetime
        )
    except httpx.HTTPError:
        return None
    if answer.status_code != 200:
        return None
    headers = {"x-aws-ec2-metadata-token": answer.text}
    roles = f"{base}/meta-data/iam/security-credentials/"
    try:
        named = await credentials.fetch("GET", roles, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable("the instance's metadata service does not answer") from error
    if named.status_code == 404:
        return None  # an instance without a role
    role = named.text.split("\n")[0].strip()
    what = f"the instance's role {role}"
    answer = await _ask(credentials.fetch("GET", roles + role, headers=headers), what)
    return _found(_json(answer), what)


async def _ask(asking: Awaitable[httpx.Response], what: str) -> httpx.Response:
    try:
        answer = await asking
    except httpx.HTTPError as error:
        raise Unavailable(f"the service that gives the keys of {what} can't be reached") from error
    if answer.status_code >= 500 or answer.status_code == 429:
        raise Unavailable(f"the service that gives the keys of {what} is out of order")
    if answer.status_code != 200:
        raise Refused(f"Amazon gives no keys for {what} ({answer.status_code}); check its trust")
    return answer


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _found(answer: Mapping[str, Any], what: str) -> _Found:
    key, secret = answer.get("AccessKeyId"), answer.get("SecretAccessKey")
    if not key or not secret:
        raise Refused(f"the answer for {what} holds no keys")
    expires = answer.get("Expiration")
    return _Found(
        AwsKeys(key, secret, answer.get("Token")),
        datetime.fromisoformat(expires).timestamp() if expires else None,
    )


def _text_of(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise Refused(f"can't read {path}: {error.strerror}") from error
