"""The quick way to read an event gives what an XML parser gives."""

from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.logs.sources.markup import (
    attributes_of,
    quick_markup,
    replace_illegal,
    slow_markup,
)

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,8}", fullmatch=True)
# Control characters and carriage returns are dealt with before (test_reader); a parser makes
# blanks of line ends in attributes, which the quick way keeps.
CHARACTERS = st.characters(
    blacklist_categories=["Cs"], blacklist_characters=[*map(chr, range(0x20)), "\ufffe", "\uffff"]
)
VALUES = st.text(CHARACTERS, max_size=12)
TEXTS = st.text(st.one_of(CHARACTERS, st.sampled_from("\n\t<>&\"'")), max_size=20)


@st.composite
def events(draw: st.DrawFn) -> str:
    """A well-formed event without its end tag."""
    element = draw(st.from_regex(r"[A-Z][a-z]{1,8}", fullmatch=True).filter(lambda n: n != "Mark"))
    attributes = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    names = st.sampled_from(["date", "ms", "TN", "CN", "EN"]) | NAMES
    digits = st.from_regex(r"[0-9]{1,5}", fullmatch=True)
    mark = draw(st.dictionaries(names, digits | VALUES, max_size=6))
    text = draw(st.none() | TEXTS)
    blank = draw(st.sampled_from(["", " ", "\n  "]))
    quote = draw(st.sampled_from(['"', '"', "'"]))
    equals = draw(st.sampled_from(["=", "=", " = "]))

    def tag(name: str, values: dict[str, str]) -> str:
        entities = {'"': "&quot;", "'": "&#39;"}
        written = (f" {k}{equals}{quote}{escape(v, entities)}{quote}" for k, v in values.items())
        return name + "".join(written)

    head = tag(element, attributes)
    content = f"<{head}/>" if text is None else f"<{head}>{escape(text)}</{element}>"
    parts = [content, f"<{tag('Mark', mark)}{blank}/>"]
    if draw(st.booleans()):
        parts.reverse()
    return f"{blank}<Event>{blank}{parts[0]}{blank}{parts[1]}{blank}"


@given(events())
def test_quick_and_slow_and_a_third_parser_agree(event: str) -> None:
    """Element, attributes, text and Mark are the same from all three."""
    tree = ET.fromstring(event.strip() + "</Event>")
    content = next(child for child in tree if child.tag != "Mark")
    mark = next(child for child in tree if child.tag == "Mark").attrib
    expected = (
        content.tag,
        dict(content.attrib),
        content.text or "",
        (mark.get("date"), mark.get("ms"), mark.get("TN"), mark.get("CN"), mark.get("EN")),
    )
    assert slow_markup(event.strip()) == expected
    quick = quick_markup(event)
    assert quick is None or quick == expected


def test_the_form_that_harmony_writes_is_read_the_quick_way() -> None:
    """Raw `>` in values, quotes and apostrophes in text, Mark first or last."""
    mark = '<Mark date="2026/03/10 08:00:02" TN="7" EN="1"/>'
    content = '<File direction="Local->Host" source="a &amp; b">it\'s "so"</File>'
    for event in (f"\n<Event>{content}{mark}", f"<Event>\n {mark} {content}"):
        assert quick_markup(event) == (
            "File",
            {"direction": "Local->Host", "source": "a & b"},
            'it\'s "so"',
            ("2026/03/10 08:00:02", None, "7", None, "1"),
        )


@pytest.mark.parametrize(
    "event",
    [
        "<Event><Detail>a</Detall><Mark/>",
        "<Event><Detail>a<Mark/>",
        "<Event><Detail a=b/><Mark/>",
        "<Event><Detail>a</Detail><Mark/><Event>",
        "<Event><Mark/>",
        "<Event>",
        "",
    ],
)
def test_what_is_not_well_formed_is_none(event: str) -> None:
    """Neither way makes something up."""
    assert quick_markup(event) is None
    assert slow_markup(event) is None


def test_elements_that_nobody_documented_are_kept() -> None:
    """Elements within and beside the content: their attributes and text are not lost."""
    markup = slow_markup(
        '<Event><New a="1">x<In b="2">y</In>z</New><Mark EN="1"/><More c="3">!</More>'
    )
    assert markup is not None
    assert markup[1] == {"a": "1", "In.b": "2", "More.c": "3"}
    assert markup[2] == "xyz!"


def test_references_are_resolved_once() -> None:
    """Escaped escapes stay, unknown names stay, impossible characters become U+FFFD."""
    written = ' a="&amp;lt; &#65;&#x42; &amp;#65; &nope; &#xD800; &#1; &#x110000;"'
    assert attributes_of(written)["a"] == "&lt; AB &#65; &nope; \ufffd \ufffd \ufffd"


@given(st.text())
def test_no_illegal_character_is_left(text: str) -> None:
    """Whatever comes in, a parser does not refuse its characters."""
    clean = replace_illegal(text)
    ET.fromstring(f"<a>{escape(clean)}</a>")
    assert len(clean) == len(text)
