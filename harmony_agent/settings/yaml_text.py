"""Upstream's YAML, read as people copy it; no message ever shows the text."""

import re
from typing import Any

import yaml

from harmony_agent.settings.report import Report

__all__ = ["parse_mapping"]

# `host: %hostname%` in the published Datadog example is not YAML: %, @ and ` can't begin a plain
# scalar (YAML 1.2.2, section 7.3.3). People copy it, so such values are taken as if quoted.
_UNQUOTED = re.compile(
    r"^(?P<head>\s*(?:-\s+)?[\w.-]+:[ \t]+)(?P<value>[%@`][^\r\n]*?)[ \t]*$", re.MULTILINE
)


def parse_mapping(text: str, source: str, report: Report) -> dict[str, Any] | None:
    """The top-level mapping of a YAML text, all scalars as written (a password of `0123` stays
    one); None after a mistake was reported."""
    quoted = _UNQUOTED.sub(lambda m: m["head"] + "'" + m["value"].replace("'", "''") + "'", text)
    if quoted != text:
        lines = [
            n
            for n, (a, b) in enumerate(zip(text.splitlines(), quoted.splitlines(), strict=True), 1)
            if a != b
        ]
        report.warning(
            source,
            "",
            f"line {', '.join(map(str, lines))}: a value that begins with %, @ or ` is not valid "
            "YAML; it is read as if it stood in quotes",
            "put it in quotes",
        )
    try:
        document = yaml.load(quoted, Loader=_Loader)  # noqa: S506 - a BaseLoader makes only text
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        report.mistake(source, "", f"is not valid YAML{place}", _hint(error))
        return None
    except (yaml.YAMLError, RecursionError):
        report.mistake(source, "", "is not valid YAML: it holds characters that YAML forbids", "")
        return None
    if document in (None, ""):
        report.mistake(source, "", "is empty", "it should be a YAML document with `type:`")
        return None
    if not isinstance(document, dict):
        report.mistake(source, "", "is not a YAML mapping", "it should hold `key: value` lines")
        return None
    return document


class _Loader(yaml.BaseLoader):
    """Everything is text; a key that stands twice is an error, where YAML would drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key.value, str) else True:
                problem = "a key stands twice" if isinstance(key.value, str) else "a key is no text"
                raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _hint(error: yaml.MarkedYAMLError) -> str:
    """The parser's own words, unless they quote the text."""
    problem = error.problem or ""
    if re.search(r"'[^']{2,}'", problem) and "expected" not in problem:
        return "check quotes, colons and indentation there"
    return problem or "check quotes, colons and indentation there"
