"""What the administrator reads, and the SMTP URL."""

from dataclasses import replace
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_agent.core.errors import Refused
from harmony_agent.core.redaction import conceal
from harmony_agent.license.classify import Fault
from harmony_agent.license.mail import Facts
from harmony_agent.license.message import compose
from harmony_agent.license.record import Outage, OutageKind
from harmony_agent.settings.smtp_url import SmtpAddress, parse_smtp_url
from tests.unit.license.support import START

HOUR = 3600.0
KINDS = ["grace-started", "reminder-2", "last-warning", "over", "verified-again", "refused"]
FACTS = Facts(
    system="sys",
    node="node-0",
    serial="HC1234-ZZ5678",
    license_url="https://license.cleo.com",
    outage=Outage("outage-1", OutageKind.UNREACHABLE, START, "node-0", "no answer", None),
    cause="Cleo's license service did not answer in time",
    fault=Fault.CUSTOMER,
    left=4 * 24 * HOUR,
    now=START,
)


class Reader(HTMLParser):
    """Collects tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, _: object) -> None:
        """A tag."""
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data


def parts(kind: str, facts: Facts = FACTS) -> tuple[str, str, str]:
    """Subject, plain text and HTML as a mail program gets them."""
    sent = compose(kind, facts, "harmony@example.com", "ops@example.com").as_bytes()
    mail = message_from_bytes(sent, policy=default)
    plain, html = mail.get_body(("plain",)), mail.get_body(("html",))
    assert isinstance(plain, EmailMessage)
    assert isinstance(html, EmailMessage)
    return str(mail["Subject"]), plain.get_content(), html.get_content()


@pytest.mark.parametrize("kind", KINDS)
def test_every_mail_names_system_node_serial_and_cause_in_both_forms(kind: str) -> None:
    """A person who knows nothing else can place it."""
    subject, plain, html = parts(kind)
    assert "sys" in subject
    for text in (plain, Reader(html).text):
        for fact in ("sys", "node-0", "HC1234-ZZ5678", "did not answer in time", "outage-1"):
            assert fact in text


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_mail_in_grace_names_the_deadline_in_utc_and_what_to_do(kind: str) -> None:
    """2030-03-17 17:46 UTC is START, four days later is the end."""
    subject, plain, _ = parts(kind)
    assert "2030-03-21 17:46 UTC" in plain
    assert "What to do" in plain
    assert "https://license.cleo.com" in plain
    if kind == "grace-started":
        assert "2030-03-21 17:46 UTC" in subject


def test_what_to_do_depends_on_whose_fault_it_is() -> None:
    """Cleo's fault: the ticket. A refusal: a new license. Else: the own network."""
    cleo = replace(FACTS, fault=Fault.CLEO)
    assert "A ticket is being opened" in parts("reminder-1", cleo)[1]
    ticketed = replace(cleo, outage=replace(FACTS.outage, ticket="IT-1000"))
    assert "Ticket IT-1000 is open" in parts("reminder-1", ticketed)[1]
    refused = replace(FACTS, outage=replace(FACTS.outage, kind=OutageKind.REFUSED))
    assert "new license" in parts("reminder-1", refused)[1]
    assert "Call Cleo's support." in parts("over", ticketed)[1]


def test_times_stand_in_the_administrators_zone_beside_utc() -> None:
    """17:46 UTC is 18:46 in Berlin in March, and a day of the week helps; UTC is not told twice."""
    _, plain, html = parts("grace-started", replace(FACTS, time_zone="Europe/Berlin"))
    for text in (plain, Reader(html).text):
        assert "2030-03-21 17:46 UTC (Thu 2030-03-21 18:46, Europe/Berlin)" in " ".join(
            text.split()
        )
    assert "UTC (" not in parts("grace-started", replace(FACTS, time_zone="UTC"))[1]


@pytest.mark.parametrize(
    ("left", "words"), [(72 * HOUR, "3 days"), (4 * HOUR, "4 hours"), (1800, "30 minutes")]
)
def test_the_time_left_is_told_in_words(left: float, words: str) -> None:
    """In the subject, which is all that some people see."""
    assert words in parts("last-warning", replace(FACTS, left=left))[0]


HOSTILE = "<script>alert(1)</script>&\"'\r\nBcc: thief@example.com"


def test_hostile_text_stays_text() -> None:
    """Neither tags in the HTML nor lines in the header."""
    facts = replace(FACTS, cause=HOSTILE, serial=HOSTILE)
    for kind in KINDS:
        mail = compose(kind, facts, "harmony@example.com", "ops@example.com")
        assert mail["Bcc"] is None
        _, _, html = parts(kind, facts)
        assert "script" not in Reader(html).tags
        assert "<script>" in Reader(html).text


@pytest.mark.parametrize(
    "address", ["", "nobody", "a@b\r\nBcc: thief@example.com", "a@b, c@d", "a b@c", "<a@b>"]
)
def test_an_address_that_is_none_is_told_and_never_sent_to(address: str) -> None:
    """It can neither crash the agent nor add a header or a recipient."""
    with pytest.raises(Refused, match="HARMONY_AGENT_ADMIN_EMAIL"):
        compose("over", FACTS, "harmony@example.com", address)


@settings(max_examples=30)
@given(
    st.text(st.sampled_from("abcdefghij- /.:"), max_size=300),
    st.text(st.sampled_from("abcdefghij-_"), min_size=1, max_size=63),
)
def test_plain_text_has_72_columns_unless_a_single_word_is_longer(cause: str, name: str) -> None:
    """Mail programs break longer lines anywhere; an address that is broken can't be followed."""
    facts = replace(FACTS, cause=cause, system=name, node=name, time_zone="Europe/Berlin")
    for kind in KINDS:
        _, plain, _ = parts(kind, facts)
        for line in plain.splitlines():
            assert len(line) <= 72 or len(line.split()) == 1
        assert " ".join(cause.split()) in " ".join(plain.split())


def test_a_long_name_leaves_room_for_the_news_in_the_subject() -> None:
    """Mail programs show the first words only."""
    subject, plain, _ = parts("over", replace(FACTS, system="s" * 63))
    assert "… : " not in subject
    assert subject.endswith("…: grace period over, Harmony is being stopped")
    assert "s" * 63 in plain


def test_html_has_dark_colors_and_fetches_nothing() -> None:
    """No image, style sheet or script from elsewhere: mail programs block them, and ask."""
    html = parts("grace-started")[2]
    assert "prefers-color-scheme:dark" in html
    assert not Reader(html).tags & {"img", "link", "script", "iframe", "a"}
    assert "url(" not in html


def test_secrets_are_starred_in_a_mail_too() -> None:
    """A cause may quote what a server said."""
    conceal("hunter2-verification")
    facts = replace(FACTS, cause="server said hunter2-verification is wrong")
    _, plain, html = parts("over", facts)
    assert "hunter2" not in plain + html
    conceal("correct horse battery <staple> & more")
    facts = replace(FACTS, cause="x" * 30 + " said: correct horse battery <staple> & more")
    for text in parts("over", facts)[1:]:
        assert "staple" not in text, "a secret that is wrapped or escaped is starred as well"


def test_the_same_mail_has_the_same_id_whoever_sends_it() -> None:
    """Mail programs show a repeated one once; later ones join its thread."""
    first = compose("grace-started", FACTS, "a@b.example", "c@d.example")
    again = compose("grace-started", replace(FACTS, node="node-1"), "a@b.example", "c@d.example")
    later = compose("over", FACTS, "a@b.example", "c@d.example")
    assert first["Message-ID"] == again["Message-ID"] == later["References"]
    assert later["Message-ID"] != first["Message-ID"]
    assert first["Auto-Submitted"] == "auto-generated"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("smtp://mail", SmtpAddress("smtp", "mail", 25)),
        ("smtp://mail:2525/", SmtpAddress("smtp", "mail", 2525)),
        ("smtp+starttls://mail.example.com", SmtpAddress("smtp+starttls", "mail.example.com", 587)),
        ("smtps://[2001:db8::1]:4650", SmtpAddress("smtps", "2001:db8::1", 4650)),
        ("SMTPS://mail", SmtpAddress("smtps", "mail", 465)),
        (
            "smtps://ops%40example.com:p%40ss%2Fw%3Ard@mail",
            SmtpAddress("smtps", "mail", 465, "ops@example.com", "p@ss/w:rd"),
        ),
        ("smtp://u:p%C3%A9@mail", SmtpAddress("smtp", "mail", 25, "u", "pé")),
    ],
)
def test_smtp_urls_are_taken_apart(url: str, address: SmtpAddress) -> None:
    """Schemes, default ports, IPv6, percent-decoding."""
    assert parse_smtp_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "mail.example.com",
        "mail:25",
        "http://mail",
        "smtp://",
        "smtp://mail:port",
        "smtp://mail:99999",
        "smtp://user@mail",
        "smtp://user:se/cret@mail",
        "smtp://user:se#cret@mail",
        "smtp://mail/path",
        "smtp://mail?starttls=1",
        "smtp://[::1",
    ],
)
def test_a_wrong_smtp_url_is_told_without_being_shown(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ValueError, match="SMTP URL") as raised:
        parse_smtp_url(url)
    assert "cret" not in str(raised.value)


@given(st.text(max_size=40))
def test_no_smtp_url_makes_it_fail_otherwise(text: str) -> None:
    """ValueError or an address, nothing else."""
    for url in (text, f"smtp://{text}", f"smtps://u:{text}@mail"):
        try:
            assert parse_smtp_url(url).host
        except ValueError as error:
            assert "SMTP URL" in str(error)


def test_the_password_is_not_in_the_repr() -> None:
    """It may end in a log."""
    assert "secret-word" not in repr(parse_smtp_url("smtp://u:secret-word@mail"))
