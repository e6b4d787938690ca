"""Serials, instance serials, VLProxy's pattern."""

import re

import pytest

from harmony_agent.license.serial import admits, instance_serial, is_serial, vlproxy_pattern


@pytest.mark.parametrize(
    "text", ["HC1234-ZZ5678", "UH0003-CN0138", "LX7589-YU2693", "abc123-x1y2z3"]
)
def test_documented_serials_are_serials(text: str) -> None:
    """All samples that Cleo published, and the wider form its code accepts."""
    assert is_serial(text)


@pytest.mark.parametrize(
    "text", ["", "HC1234", "HC1234-ZZ567", "HC1234-ZZ56789", "HC1234-ZZ5678\n"]
)
def test_other_texts_are_not(text: str) -> None:
    """Too short, too long, or with a line end."""
    assert not is_serial(text)


def test_the_pattern_matches_every_instance_and_nothing_else() -> None:
    """As upstream documents it, hyphens unescaped."""
    pattern = vlproxy_pattern("HC1234-ZZ5678")
    assert pattern == "HC1234-ZZ5678-.*"
    assert re.fullmatch(pattern, instance_serial("HC1234-ZZ5678", "harmony-0"))
    assert not re.fullmatch(pattern, instance_serial("HC1234-ZZ9999", "harmony-0"))


def test_characters_with_a_meaning_are_escaped() -> None:
    """Should a serial ever hold one."""
    pattern = vlproxy_pattern("A.C$34-Z(56+8")
    assert re.fullmatch(pattern, "A.C$34-Z(56+8-node")
    assert not re.fullmatch(pattern, "AxC$34-Z(56+8-node")


def test_the_pattern_admits_as_java_would() -> None:
    """Java's dot stops at more line ends than Python's, and the whole serial has to match."""
    pattern = vlproxy_pattern("HC1234-ZZ5678")
    assert admits(pattern, "HC1234-ZZ5678-node.1 [blue]+*")
    assert not admits(pattern, "HC1234-ZZ5678")
    assert not admits(pattern, "XHC1234-ZZ5678-node")
    for end in "\n\r\x85\u2028\u2029":
        assert not admits(pattern, f"HC1234-ZZ5678-no{end}de")
    assert admits(vlproxy_pattern("a.b+c(d"), "a.b+c(d-node")
    assert not admits(vlproxy_pattern("a.b+c(d"), "axb+c(d-node")
