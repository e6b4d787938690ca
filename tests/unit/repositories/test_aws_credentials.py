"""The pod's own identity is found in each place, in Amazon's order, and renewed in time."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.core.tls import client_context
from harmony_agent.repositories.objects.aws_credentials import AwsCredentials
from harmony_agent.repositories.objects.sigv4 import AwsKeys

_NOW = datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp()

STS = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>ASIA</AccessKeyId>
<SecretAccessKey>s3cret</SecretAccessKey><SessionToken>tok</SessionToken>
<Expiration>2026-11-21T09:00:00Z</Expiration></Credentials>
</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
ROLE = {
    "AccessKeyId": "ASIA",
    "SecretAccessKey": "s3cret",
    "Token": "tok",
    "Expiration": "2026-11-21T09:00:00Z",
}
TEMPORARY = AwsKeys("ASIA", "s3cret", "tok")


class Services:
    """Amazon's credential services: answers by the URL's beginning, and what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Answer as the first part of an URL says that is in this one."""
        self.asked.append(request)
        for part, answer in self.answers.items():
            if part in str(request.url).replace("-", "_").replace("/", "_"):
                if isinstance(answer, Exception):
                    raise answer
                status, text = answer if isinstance(answer, tuple) else (200, answer)
                return httpx.Response(status, text=text)
        raise httpx.ConnectError("no such service")


Make = Callable[..., tuple[AwsCredentials, Services]]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """Credentials of an environment, with services that answer."""

    def made(
        environment: dict[str, str], clock: Callable[[], float] = lambda: _NOW, **answers: Any
    ) -> tuple[AwsCredentials, Services]:
        services = Services(**answers)
        real = httpx.AsyncClient
        monkeypatch.setattr(
            httpx, "AsyncClient", lambda **_: real(transport=httpx.MockTransport(services))
        )
        given = {"HOME": str(tmp_path), **environment}
        return AwsCredentials(
            "eu-central-1", client_context(), environment=given, clock=clock
        ), services

    return made


async def test_the_environment_comes_first(make: Make) -> None:
    """Nobody is asked; the keys do not expire."""
    credentials, services = make(
        {"AWS_ACCESS_KEY_ID": "AK", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"}
    )
    assert await credentials.keys() == AwsKeys("AK", "s", "t")
    assert services.asked == []


async def test_a_service_account_gets_keys_for_its_role(make: Make, tmp_path: Path) -> None:
    """IRSA: Kubernetes' token goes to the region's token service."""
    (tmp_path / "token").write_text("kubernetes-token\n")
    credentials, services = make(
        {
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"),
            "AWS_ROLE_ARN": "arn:aws:iam::1:role/harmony",
        },
        sts=STS,
    )
    assert await credentials.keys() == TEMPORARY
    (request,) = services.asked
    assert request.url == "https://sts.eu-central-1.amazonaws.com"
    assert b"WebIdentityToken=kubernetes-token&" in request.content + b"&"
    assert b"role%2Fharmony" in request.content


async def test_a_credentials_file_may_hold_keys(make: Make, tmp_path: Path) -> None:
    """Of the profile that is named; one without keys leads on."""
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[default]\nrole_arn = x\n[harmony]\naws_access_key_id = AK\naws_secret_access_key = s\n"
    )
    credentials, _ = make({"AWS_PROFILE": "harmony"})
    assert await credentials.keys() == AwsKeys("AK", "s")
    credentials, _ = make({"AWS_EC2_METADATA_DISABLED": "true"})
    with pytest.raises(Refused, match="no credentials; set accessKey"):
        await credentials.keys()


async def test_a_container_gets_keys_with_its_token(make: Make, tmp_path: Path) -> None:
    """EKS Pod Identity: the token of the file is the authorization."""
    (tmp_path / "token").write_text("pod-token")
    credentials, services = make(
        {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(tmp_path / "token"),
        },
        v1_credentials=json.dumps(ROLE),
    )
    assert await credentials.keys() == TEMPORARY
    assert services.asked[0].headers["authorization"] == "pod-token"


async def test_an_instance_gets_the_keys_of_its_role(make: Make) -> None:
    """IMDSv2: a token first, then the role's name, then its keys."""
    credentials, services = make(
        {},
        api_token="imds-token",
        security_credentials_harmony=json.dumps(ROLE),
        security_credentials_="harmony\n",
    )
    assert await credentials.keys() == TEMPORARY
    assert services.asked[-1].headers["x-aws-ec2-metadata-token"] == "imds-token"


async def test_no_identity_anywhere_is_told(make: Make) -> None:
    """Not a machine of Amazon's: the message says what to do."""
    credentials, _ = make({})
    with pytest.raises(Refused, match="set accessKey and secretAccessKey, or give the pod a role"):
        await credentials.keys()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ((403, "<Error/>"), Refused),
        ((503, ""), Unavailable),
        (httpx.ReadTimeout("silent"), Unavailable),
        ((200, "<html>proxy</html>"), Refused),
    ],
    ids=["denied", "out of order", "silent", "no keys"],
)
async def test_a_role_without_keys_is_told(
    make: Make, tmp_path: Path, answer: Any, kind: type[Exception]
) -> None:
    """Denied is for a person, silence is for later."""
    (tmp_path / "token").write_text("kubernetes-token")
    credentials, _ = make(
        {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ROLE_ARN": "arn:role"},
        sts=answer,
    )
    with pytest.raises(kind, match="arn:role"):
        await credentials.keys()


async def test_a_missing_token_file_is_named(make: Make) -> None:
    """The projected volume is not mounted."""
    credentials, _ = make({"AWS_WEB_IDENTITY_TOKEN_FILE": "/no/token", "AWS_ROLE_ARN": "arn:role"})
    with pytest.raises(Refused, match="can't read /no/token"):
        await credentials.keys()


async def test_keys_are_renewed_before_they_expire_and_used_until_they_do(make: Make) -> None:
    """Five minutes early; while the service is silent the old ones go on to their end."""
    now = _NOW
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
    credentials, services = make(environment, lambda: now, v1_credentials=json.dumps(ROLE))
    await credentials.keys()
    now = _NOW + 3000
    await credentials.keys()
    assert len(services.asked) == 1
    services.answers["v1_credentials"] = httpx.ConnectError("gone")
    for second in range(3400, 3500):
        now = _NOW + second
        assert await credentials.keys() == TEMPORARY
    assert 2 <= len(services.asked) <= 6
    now = _NOW + 3601
    with pytest.raises(Unavailable):
        await credentials.keys()
    later = ROLE | {"AccessKeyId": "ASIB", "Expiration": "2026-11-21T11:00:00Z"}
    services.answers["v1_credentials"] = json.dumps(later)
    assert (await credentials.keys()).key == "ASIB"


async def test_keys_that_the_server_refuses_are_looked_up_anew(make: Make) -> None:
    """They may have been revoked before their time."""
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}
    credentials, services = make(environment, v1_credentials=json.dumps(ROLE))
    await credentials.keys()
    credentials.forget()
    await credentials.keys()
    assert len(services.asked) == 2
