"""Sends a mail: the one seam to smtplib and its errors."""

import contextlib
import smtplib
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Final

from harmony_agent.core.errors import AgentError, Refused, Unavailable
from harmony_agent.core.threads import Workers
from harmony_agent.core.tls import client_context
from harmony_agent.settings.smtp_url import SmtpAddress

__all__ = ["PostOffice"]

_STEP_LIMIT: Final = 15.0  # seconds for connect and for each answer
_OVERALL_LIMIT: Final = 60.0


class PostOffice:
    """Hands mails to one SMTP server, one at a time."""

    def __init__(self, address: SmtpAddress, ca_bundle: Path | None, workers: Workers) -> None:
        self._address = address
        self._ca_bundle = ca_bundle
        self._workers = workers

    async def send(self, message: EmailMessage) -> None:
        """Send one mail. Raises Unavailable (try again) and Refused (a person has to change
        something: account, address, certificate)."""
        await self._workers.run(_OVERALL_LIMIT, self._converse, message)

    async def greet(self) -> None:
        """Connect and log in as for a mail, and send none. Raises as `send` does."""
        await self._workers.run(_OVERALL_LIMIT, self._converse, None)

    def _converse(self, message: EmailMessage | None) -> None:
        try:
            server = self._connect()
            try:
                self._log_in(server)
                if message is not None:
                    server.send_message(message)
                with contextlib.suppress(smtplib.SMTPException, OSError):
                    server.quit()  # the mail is taken already, however the good-bye goes
            finally:
                server.close()
        except UnicodeError as error:
            raise Refused(
                "smtplib can't log in with letters beyond ASCII in user or password"
            ) from error
        except (smtplib.SMTPException, OSError) as error:
            raise self._translate(error) from error

    def _log_in(self, server: smtplib.SMTP) -> None:
        if self._address.scheme == "smtp+starttls":
            server.starttls(context=client_context(self._ca_bundle))
        if self._address.user is not None and self._address.password is not None:
            server.login(self._address.user, self._address.password)

    def _connect(self) -> smtplib.SMTP:
        # smtplib would look up this host's full name in DNS, which may take long; any name does.
        name, host, port = "harmony-agent", self._address.host, self._address.port
        if self._address.scheme == "smtps":
            context = client_context(self._ca_bundle)
            return smtplib.SMTP_SSL(host, port, name, timeout=_STEP_LIMIT, context=context)
        return smtplib.SMTP(host, port, name, timeout=_STEP_LIMIT)

    def _translate(self, error: smtplib.SMTPException | OSError) -> AgentError:
        server = f"mail server {self._address.host}:{self._address.port}"
        if isinstance(error, smtplib.SMTPAuthenticationError) and error.smtp_code >= 500:
            return Refused(f"{server} does not accept user and password of the SMTP URL")
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return Refused(f"{server} does not offer what the SMTP URL asks for: {error}")
        if isinstance(error, ssl.SSLCertVerificationError):
            return Refused(
                f"the certificate of {server} can't be verified: {error.verify_message}; "
                "name its authority in HARMONY_AGENT_CA_BUNDLE"
            )
        code, words = _answer(error)
        if code is None:
            return Unavailable(f"{server} can't be reached: {words}")
        kind = Unavailable if code < 500 else Refused
        return kind(f"{server} does not take the mail: {code} {words}")


def _answer(error: Exception) -> tuple[int | None, str]:
    """The server's own code and words; None without a code if there was no answer."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = next(iter(error.recipients.values()))
        return code, _decoded(words)
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code > 0:
        return error.smtp_code, _decoded(error.smtp_error)
    return None, str(error) or type(error).__name__


def _decoded(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return " ".join(text.split())[:200]
