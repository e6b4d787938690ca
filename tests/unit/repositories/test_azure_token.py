"""Tokens of Azure's identities: renewed in time, and refusals told apart from silence."""

import time

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from azure.identity import CredentialUnavailableError

from harmony_agent.core.errors import Refused, Unavailable
from harmony_agent.repositories.objects import azure_token
from harmony_agent.repositories.objects.azure_token import AzureToken


class Identity:
    """Answers in place of azure-identity; an error in `answers` is raised."""

    answers: list[int | Exception]
    made = 0
    closed = 0

    def __init__(self) -> None:
        Identity.made += 1

    def get_token(self, scope: str) -> AccessToken:
        """A token that is good for that many seconds."""
        assert scope == "https://storage.azure.com/.default"
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return AccessToken(f"token-{found}", int(time.time()) + found)

    def close(self) -> None:
        """Nothing to give back."""
        Identity.closed += 1


@pytest.fixture(autouse=True)
def identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """No real identity is asked."""
    monkeypatch.setattr(azure_token, "DefaultAzureCredential", Identity)


async def test_a_token_is_used_until_five_minutes_before_its_end() -> None:
    """The second is got as soon as the first has less than that left."""
    Identity.answers = [200, 3600]
    token = AzureToken()
    try:
        assert await token.header() == "Bearer token-200"
        assert await token.header() == "Bearer token-3600"
        assert await token.header() == "Bearer token-3600"
    finally:
        token.close()


async def test_a_token_that_azure_takes_no_more_is_got_from_a_new_identity() -> None:
    """By a clock that was set back it is good for hours, in azure-identity's memory as well."""
    Identity.answers, Identity.made, Identity.closed = [7200, 3600], 0, 0
    token = AzureToken()
    try:
        assert await token.header() == "Bearer token-7200"
        token.forget()
        assert await token.header() == "Bearer token-3600"
        assert await token.header() == "Bearer token-3600"
        assert (Identity.made, Identity.closed) == (2, 1)
    finally:
        token.close()


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (CredentialUnavailableError("none"), Refused, "no identity found; set accessKey"),
        (ClientAuthenticationError("denied"), Refused, "Azure gives no token"),
        (ServiceRequestError("silent"), Unavailable, "can't be reached"),
    ],
)
async def test_what_goes_wrong_is_told(
    raised: Exception, kind: type[Exception], words: str
) -> None:
    """A person for the first two, time for the last."""
    Identity.answers = [raised]
    token = AzureToken()
    try:
        with pytest.raises(kind, match=words):
            await token.header()
    finally:
        token.close()
