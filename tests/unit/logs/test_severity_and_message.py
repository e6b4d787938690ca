"""What an event's words, level and color make of its severity, and the sentence composed of it."""

import pytest

from harmony_agent.logs.sources.message import message_of
from harmony_agent.logs.sources.severity import severity_of


@pytest.mark.parametrize(
    ("element", "attributes", "expected"),
    [
        ("Result", {"text": "Success"}, "info"),
        ("Result", {"text": "SUCCESS"}, "info"),
        ("Result", {"text": "Warning"}, "warning"),
        ("Result", {"text": "-"}, "warning"),
        ("Result", {"text": "Error"}, "error"),
        ("Result", {"text": "Exception"}, "error"),
        ("Result", {"text": "Interrupted"}, "warning"),
        ("Result", {"text": "Retry"}, "info"),
        ("Result", {"text": "Resolved somehow"}, "warning"),
        ("Result", {}, "info"),
        ("Result", {"text": "Success", "color": "orange"}, "warning"),
        ("Result", {"text": "Error", "color": "orange"}, "error"),
        ("Result", {"text": "Success", "color": "green"}, "info"),
        ("Detail", {"level": "0"}, "info"),
        ("Detail", {"level": "1"}, "info"),
        ("Detail", {"level": "2"}, "debug"),
        ("Detail", {"level": "10"}, "debug"),
        ("Detail", {}, "info"),
        ("Detail", {"level": "5", "color": "red"}, "error"),
        ("Hint", {}, "warning"),
        ("Thread", {}, "info"),
        ("Never seen", {"color": "RED"}, "error"),
    ],
)
def test_severity(element: str, attributes: dict[str, str], expected: str) -> None:
    """The table, row by row."""
    assert severity_of(element, attributes) == expected


@pytest.mark.parametrize(
    ("element", "attributes", "text", "expected"),
    [
        ("Thread", {"type": "AutoRun", "action": "<send>b@h"}, "", "AutoRun <send>b@h"),
        ("Command", {"text": "PUT a.edi", "type": "AS2", "line": "2"}, "", "PUT a.edi"),
        ("Request", {"text": "POST /as2"}, "", "POST /as2"),
        ("Detail", {"level": "1"}, "two\nlines", "two\nlines"),
        ("Hint", {}, "check the password", "check the password"),
        (
            "File",
            {"source": "a", "destination": "b", "direction": "Local->Host", "number": "1 of 3"},
            "",
            "Local->Host a to b (1 of 3)",
        ),
        ("File", {"source": "a", "fileSize": "7"}, "", "a 7 bytes"),
        (
            "Incoming",
            {"source": "a", "folder": "inbox", "host": "H", "mailbox": "m"},
            "",
            "a from m@H into inbox",
        ),
        ("Transfer", {"bytes": "10", "seconds": "2"}, "", "10 bytes in 2 s"),
        ("Response", {"host": "ACME:"}, "226 done", "ACME: 226 done"),
        (
            "Result",
            {"text": "Error", "command": "PUT a.edi", "line": "2"},
            "550 refused",
            "Error: PUT a.edi: 550 refused",
        ),
        ("Result", {"text": "Success"}, "", "Success"),
        ("End", {}, "", "End"),
        ("Novelty", {"a": "1", "b": "2"}, "", "a=1 b=2"),
        ("Novelty", {"a": "1"}, "words", "words"),
    ],
)
def test_message(element: str, attributes: dict[str, str], text: str, expected: str) -> None:
    """Each element's sentence."""
    assert message_of(element, attributes, text) == expected
