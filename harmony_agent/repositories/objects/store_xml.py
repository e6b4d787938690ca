"""Listings and errors of object stores, which answer in XML."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote
from xml.parsers import expat

__all__ = ["Page", "listing", "parsed"]

_DEEPEST: Final = 16


@dataclass(slots=True)
class Page:
    """The texts of an XML document by the names of their elements, without namespaces.

    `rows` has one mapping for each row element, with the texts of everything in it; `fields` has
    the texts outside of rows. `root` is the name of the outermost element.
    """

    root: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, str]] = field(default_factory=list)


class _Reader:
    def __init__(self, row: str | None) -> None:
        self.page = Page()
        self._row = row
        self._target = self.page.fields
        self._text: list[str] = []
        self._depth = 0
        self._encoded = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth == 1:
            self.page.root = name
        if self._depth > _DEEPEST:
            raise ValueError("nested too deep")
        if name == self._row:
            self._target = {}
        self._text.clear()
        self._encoded = attributes.get("Encoded") == "true"  # Azure, for what XML can't hold

    def end(self, name: str) -> None:
        self._depth -= 1
        if name == self._row:
            self.page.rows.append(self._target)
            self._target = self.page.fields
            return
        if self._text:
            text = "".join(self._text)
            self._target[name] = unquote(text) if self._encoded else text
            self._text.clear()

    def data(self, text: str) -> None:
        self._text.append(text)


def listing(document: bytes, root: str, row: str) -> Page:
    """Read a page of a listing, whose outermost element is `root`.

    Raises ValueError for anything else: a page that some portal or proxy answers instead would look
    like an empty repository.
    """
    page = parsed(document, row)
    if page.root != root:
        raise ValueError(f"the server's answer is no {root}")
    return page


def parsed(document: bytes, row: str | None = None) -> Page:
    """Read an answer; `row` names the element that stands for one object.

    Raises ValueError for what is no such document.
    """
    reader = _Reader(row)
    parser = expat.ParserCreate()
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.data
    parser.buffer_text = True
    parser.EntityDeclHandler = _refuse
    try:
        parser.Parse(document, True)
    except expat.ExpatError as error:
        raise ValueError(f"the server's answer is no XML: {error}") from error
    return reader.page


def _refuse(*_: object) -> None:
    """No store declares entities; what does might grow without end."""
    raise ValueError("the server's answer declares entities")
