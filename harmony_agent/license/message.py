"""A letter becomes a mail, in plain text and HTML.

Imported when the first one is sent: Python's mail package takes 3 MiB, and most agents send none.
"""

from datetime import UTC, datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Final

from harmony_agent.core.errors import Refused
from harmony_agent.core.redaction import redact
from harmony_agent.license.letter import as_html, as_text
from harmony_agent.license.mail import Facts, write
from harmony_agent.license.record import Outage, OutageKind

__all__ = ["compose"]

_FIRST: Final = ("grace-started", "refused")  # what the later mails of an outage refer to


def compose(kind: str, facts: Facts, sender: str, administrator: str) -> EmailMessage:
    """The mail of this kind (see `mail.write`). Raises Refused if an address can't stand in one."""
    # Stars first: a secret that is wrapped or escaped would not be recognized any more.
    letter = write(kind, facts).map(redact)
    message = EmailMessage(policy=SMTP)
    try:
        message["From"] = Address("harmony-agent", addr_spec=sender)
        message["To"] = Address(addr_spec=administrator)
        message["Subject"] = letter.subject
    except (ValueError, IndexError, MessageError) as error:
        raise Refused(
            f"{sender!r} or {administrator!r} is no mail address; check HARMONY_AGENT_ADMIN_EMAIL "
            "and HARMONY_AGENT_FROM_EMAIL"
        ) from error
    message["Date"] = format_datetime(datetime.fromtimestamp(facts.now, UTC))
    # The same id whichever node sends it and however often: mail programs show it once.
    message["Message-ID"] = _message_id(kind, facts.outage)
    if kind not in _FIRST:
        first = "refused" if facts.outage.kind is OutageKind.REFUSED else "grace-started"
        message["References"] = _message_id(first, facts.outage)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers from holiday responders
    message.set_content(as_text(letter))
    message.add_alternative(as_html(letter), subtype="html")
    return message


def _message_id(kind: str, outage: Outage) -> str:
    return f"<{kind}.{outage.id}@harmony-agent.invalid>"
