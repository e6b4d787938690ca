"""How a mail looks: plain text for any mail program, HTML for those that show it, light and dark.

Pure. What mail programs do with HTML differs: styles stand at the elements, since some drop style
sheets; the sheet only brings the dark colors; nothing is fetched from anywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from textwrap import TextWrapper
from typing import Final

__all__ = ["Letter", "as_html", "as_text"]

_WIDTH: Final = 72  # columns of plain text


@dataclass(frozen=True, slots=True)
class Letter:
    """A subject, paragraphs, and a table of names and values."""

    subject: str
    paragraphs: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]

    def map(self, change: Callable[[str], str]) -> "Letter":
        """The letter with each of its texts changed."""
        return Letter(
            change(self.subject),
            tuple(change(text) for text in self.paragraphs),
            tuple((name, change(value)) for name, value in self.facts),
        )


def as_text(letter: Letter) -> str:
    """Plain text of at most 72 columns; only a single word may be longer, such as an address."""
    column = max(len(name) for name, _ in letter.facts) + 2
    wrapper = TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    blocks = [wrapper.fill(text) for text in letter.paragraphs]
    rows = [_row(name, value, column) for name, value in letter.facts]
    return "\n\n".join([*blocks, "\n".join(rows)]) + "\n"


def _row(name: str, value: str, column: int) -> str:
    """One line of the table, and its continuations; a word that does not fit beside the names
    begins a line of its own."""
    fits = all(len(word) <= _WIDTH - column for word in value.split())
    wrapper = TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    wrapper.subsequent_indent = " " * (column if fits else 2)
    return wrapper.fill(f"{name + ':':<{column}}{value}")


_BREAK: Final = "overflow-wrap:anywhere;word-break:break-word"
_PAGE: Final = (
    "margin:0;padding:16px;background:#f4f5f7;color:#1d2125;"
    "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;"
    "font-size:15px;line-height:1.5"
)
_CARD: Final = (
    f"max-width:640px;margin:0 auto;padding:8px 24px 16px;background:#ffffff;"
    f"border:1px solid #d5d9df;border-radius:8px;{_BREAK}"
)
_NAME: Final = (
    "padding:6px 16px 6px 0;text-align:left;vertical-align:top;white-space:nowrap;"
    "font-weight:normal;color:#5b6470;border-top:1px solid #d5d9df"
)
_VALUE: Final = f"padding:6px 0;vertical-align:top;border-top:1px solid #d5d9df;{_BREAK}"
_DARK: Final = (
    "@media (prefers-color-scheme:dark){"
    "body{background:#16181c!important;color:#e4e7eb!important}"
    ".card{background:#1f2328!important;border-color:#3a4149!important}"
    "th{color:#a3adb8!important}th,td{border-color:#3a4149!important}}"
)


def as_html(letter: Letter) -> str:
    """One HTML document."""
    paragraphs = "\n".join(
        f'<p style="margin:16px 0">{escape(text)}</p>' for text in letter.paragraphs
    )
    rows = "\n".join(
        f'<tr><th scope="row" style="{_NAME}">{escape(name)}</th>'
        f'<td style="{_VALUE}">{escape(value)}</td></tr>'
        for name, value in letter.facts
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>{escape(letter.subject)}</title>
<style>:root{{color-scheme:light dark}}{_DARK}</style>
</head>
<body style="{_PAGE}">
<div class="card" style="{_CARD}">
{paragraphs}
<table style="width:100%;border-collapse:collapse;font-size:14px">
{rows}
</table>
</div>
</body>
</html>
"""
