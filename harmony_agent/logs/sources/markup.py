"""One event's markup: a regular expression for the form Harmony writes, expat for any other.

The expression reads what `fixtures/harmony_log.py` shows in a tenth of expat's time; both give the
same for well-formed events (a property test holds them together).
"""

import re
from typing import Final, cast
from xml.parsers import expat

__all__ = [
    "NO_MARK",
    "Mark",
    "Markup",
    "attributes_of",
    "has_illegal",
    "mark_of",
    "quick_markup",
    "replace_illegal",
    "slow_markup",
]

# Attributes are taken as a whole first: quoted values may hold `>`. Apostrophes outside of double
# quotes mean the other kind of quoting, which is left to expat.
_ATTRIBUTES: Final = r"""((?:[^"'<>]*+"[^"<]*+")*+)"""


def _element(number: int) -> str:
    return rf"<(\w+){_ATTRIBUTES}\s*+(?:/>|>([^<]*+)</\{number}>)"


_EVENT: Final = re.compile(rf"\s*+<Event>\s*+{_element(1)}\s*+{_element(4)}\s*+", re.ASCII)
_ATTRIBUTE: Final = re.compile(r'([^\s=]+)\s*+=\s*+"([^"]*)"', re.ASCII)
# Mark as documented; other attributes or another order are read like any element's.
_MARK: Final = re.compile(
    r' date="([^"&]*)"(?: ms="(\d+)")?(?: TN="(\d+)")?(?: CN="(\d+)")?(?: EN="(\d+)")?', re.ASCII
)
_REFERENCE: Final = re.compile(r"&#(?:(\d{1,7})|x([0-9a-fA-F]{1,6}));")

# XML 1.0 allows no other control characters, not even as references.
_CONTROLS: Final = bytes(c for c in range(0x20) if c not in (0x09, 0x0A, 0x0D))
_ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_REPLACEMENT: Final = "\ufffd"


# Plain tuples: named ones cost half a microsecond more for each event.
# Mark: date, ms, TN, CN, EN as written; None for what it leaves out.
Mark = tuple[str | None, str | None, str | None, str | None, str | None]
# A content element's name, attributes and text, and its Mark.
Markup = tuple[str, dict[str, str], str, Mark]

NO_MARK: Final[Mark] = (None, None, None, None, None)


def has_illegal(data: bytes) -> bool:
    """Whether `data` holds control characters that XML does not allow."""
    return len(data.translate(None, _CONTROLS)) != len(data)


def replace_illegal(text: str) -> str:
    """`text` with U+FFFD for each character that XML does not allow."""
    return _ILLEGAL.sub(_REPLACEMENT, text)


def _resolve(reference: re.Match[str]) -> str:
    code = int(reference[1]) if reference[1] else int(reference[2], 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return _REPLACEMENT
    return replace_illegal(chr(code))


def _unescape(text: str) -> str:
    """`text` with its references resolved; unknown ones stay as they are."""
    text = text.replace("&lt;", "<").replace("&gt;", ">")
    text = text.replace("&quot;", '"').replace("&apos;", "'")
    if "&#" in text:
        text = _REFERENCE.sub(_resolve, text)
    return text.replace("&amp;", "&")  # last, or `&amp;lt;` would be resolved twice


def attributes_of(written: str) -> dict[str, str]:
    """The attributes of a tag, given what stands between its name and its end."""
    attributes = dict(_ATTRIBUTE.findall(written))
    if "&" in written:
        for name, value in attributes.items():
            if "&" in value:
                attributes[name] = _unescape(value)
    return attributes


def mark_of(written: str) -> Mark:
    """A Mark, given what stands between its tag's name and end."""
    found = _MARK.fullmatch(written)
    if found is not None:
        return cast("Mark", found.groups())
    return _mark(attributes_of(written))


def _mark(attributes: dict[str, str]) -> Mark:
    get = attributes.get
    return get("date"), get("ms"), get("TN"), get("CN"), get("EN")


def quick_markup(piece: str) -> Markup | None:
    """The usual form of an event, from `<Event>` up to but without its end tag; None for any
    other form."""
    found = _EVENT.fullmatch(piece)
    if found is None:
        return None
    element, attributes, text, second, mark, second_text = found.groups()
    if second != "Mark":
        if element != "Mark":
            return None
        element, attributes, text, mark = second, mark, second_text, attributes
    elif element == "Mark":
        return None
    return (
        element,
        attributes_of(attributes) if attributes else {},
        _unescape(text) if text and "&" in text else text or "",
        mark_of(mark),
    )


class _Collector:
    """Gathers what expat reports of one event."""

    def __init__(self) -> None:
        self.depth = 0
        self.element = ""
        self.attributes: dict[str, str] = {}
        self.text: list[str] = []
        self.mark = NO_MARK
        self._in_content = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self.depth += 1
        if self.depth == 2 and name == "Mark":
            self.mark = _mark(attributes)
        elif self.depth == 2 and not self.element:
            self.element, self.attributes, self._in_content = name, attributes, True
        elif self.depth > 1:
            # Not documented, so kept: elements within or beside the content element.
            self.attributes |= {f"{name}.{key}": value for key, value in attributes.items()}
            self._in_content = True

    def end(self, _name: str) -> None:
        self.depth -= 1
        if self.depth == 1:
            self._in_content = False

    def characters(self, text: str) -> None:
        if self._in_content:
            self.text.append(text)


def slow_markup(event: str) -> Markup | None:
    """Any well-formed event, from `<Event` up to but without its end tag; None if it is not
    well-formed or holds no content element."""
    collector = _Collector()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = collector.start
    parser.EndElementHandler = collector.end
    parser.CharacterDataHandler = collector.characters
    try:
        parser.Parse(event + "</Event>", True)
    except expat.ExpatError:
        return None
    if not collector.element:
        return None
    return collector.element, collector.attributes, "".join(collector.text), collector.mark
