"""Whether the administrator can be mailed at all, and the way a mail takes."""

from pathlib import Path
from typing import TYPE_CHECKING

from harmony_agent.core.threads import Workers
from harmony_agent.license.mail import Facts
from harmony_agent.settings.model import MailSettings
from harmony_agent.settings.smtp_url import SmtpAddress, parse_smtp_url

if TYPE_CHECKING:
    from harmony_agent.license.smtp import PostOffice

__all__ = ["Mailroom"]


class Mailroom:
    """Composes and sends mails by the settings; `missing` says why it can't, None if it can."""

    def __init__(self, settings: MailSettings, ca_bundle: Path | None, workers: Workers) -> None:
        self.missing: str | None = None
        self.time_zone = settings.time_zone
        self._ca_bundle = ca_bundle
        self._workers = workers
        self._address: SmtpAddress | None = None
        self._administrator = settings.administrator or ""
        self._sender = settings.sender or self._administrator
        url = settings.smtp_url.get_secret_value() if settings.smtp_url else None
        if not self._administrator:
            self.missing = "the administrator can't be mailed: set HARMONY_AGENT_ADMIN_EMAIL"
        elif url is None:
            self.missing = "the administrator can't be mailed: set HARMONY_AGENT_SMTP_URL"
        else:
            try:
                self._address = parse_smtp_url(url)
            except ValueError as error:
                self.missing = f"the administrator can't be mailed: {error}"

    async def send(self, kind: str, facts: Facts) -> None:
        """Send the mail of this kind; only if nothing is `missing`. Raises Unavailable (try
        again) and Refused (a person has to change something)."""
        from harmony_agent.license.message import compose  # noqa: PLC0415 - see there

        await self._office().send(compose(kind, facts, self._sender, self._administrator))

    async def greet(self) -> None:
        """Prove that the mail server is reached and takes the login; only if nothing is
        `missing`. Raises as `send` does."""
        await self._office().greet()

    def _office(self) -> "PostOffice":
        from harmony_agent.license.smtp import PostOffice  # noqa: PLC0415 - as `message`

        assert self._address is not None
        return PostOffice(self._address, self._ca_bundle, self._workers)
