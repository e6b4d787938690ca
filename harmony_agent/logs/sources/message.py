"""The sentence a person reads: composed from a content element's attributes and text."""

from collections.abc import Callable, Mapping
from typing import Final

__all__ = ["message_of"]

Attributes = Mapping[str, str]


def _join(separator: str, *parts: str | None) -> str:
    return separator.join(filter(None, parts))


def _text(_attributes: Attributes, text: str) -> str:
    return text


def _thread(attributes: Attributes, text: str) -> str:
    return _join(" ", attributes.get("type"), attributes.get("action"), text)


def _command(attributes: Attributes, text: str) -> str:
    return _join(" ", attributes.get("text"), text)


def _file(attributes: Attributes, text: str) -> str:
    files = _join(" to ", attributes.get("source"), attributes.get("destination"))
    number = attributes.get("number")
    size = attributes.get("fileSize")
    return _join(
        " ",
        attributes.get("direction"),
        files,
        f"({number})" if number else None,
        f"{size} bytes" if size else None,
        text,
    )


def _incoming(attributes: Attributes, text: str) -> str:
    folder = attributes.get("folder")
    sender = _join("@", attributes.get("mailbox"), attributes.get("host"))
    return _join(
        " ",
        attributes.get("source"),
        f"from {sender}" if sender else None,
        f"into {folder}" if folder else None,
        text,
    )


def _transfer(attributes: Attributes, text: str) -> str:
    size, seconds = attributes.get("bytes"), attributes.get("seconds")
    return _join(
        " ",
        f"{size} bytes" if size else None,
        f"in {seconds} s" if seconds else None,
        text,
    )


def _response(attributes: Attributes, text: str) -> str:
    return _join(" ", attributes.get("host"), text)


def _result(attributes: Attributes, text: str) -> str:
    subject = attributes.get("command") or attributes.get("source")
    return _join(": ", attributes.get("text"), subject, text)


_COMPOSERS: Final[Mapping[str, Callable[[Attributes, str], str]]] = {
    "Thread": _thread,
    "Command": _command,
    "Request": _command,
    "Detail": _text,
    "Hint": _text,
    "File": _file,
    "Incoming": _incoming,
    "Transfer": _transfer,
    "Response": _response,
    "Result": _result,
}


def message_of(element: str, attributes: Attributes, text: str) -> str:
    """The message of an event with this content element; never empty.

    An element that is not known gives its text, else its attributes, else its name.
    """
    composer = _COMPOSERS.get(element, _text)
    return (
        composer(attributes, text)
        or " ".join(f"{key}={value}" for key, value in attributes.items())
        or element
    )
