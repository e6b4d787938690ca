"""Names from one home to another over each backend: byte for byte, or held and told."""

import os
from collections.abc import Iterable, Mapping

import pytest

from harmony_agent.lifecycle.health import Health
from tests.integration.repositories.backends import KINDS
from tests.integration.sync.conftest import MakeNodes
from tests.integration.sync.disk import eventually
from tests.integration.sync.node import joined, opened
from tests.integration.sync.world import stored

pytestmark = pytest.mark.server

LIMIT = 120.0  # seconds; generous, since conditions are waited for

EVERYWHERE = (
    "plain",
    "empty",
    " blank in front",
    "blanks  in  the middle",
    ".dot in front",
    "..two dots in front",
    "...",
    "~",
    "-rf",
    "cfg[1].xml.bak",
    "cfg1.xml.bak",
    "{a,b}",
    "100%",
    "a%20b",
    "a b",
    "a%2Fb",
    "a%252Fb",
    "a+b",
    "a#b",
    "a&b=c;d,e",
    "$HOME `id` $(id) 'q' !",
    "@^=()",
    "Zoë 証明書 🔑",
    "العربية",
    "zero\u200bwidth",
    "n" * 215,
    " folder/.hidden/deep [x]/%41/file",
)
SMB_FORBIDS = ("a:b", "<a>", 'a"b', "a|b", "a*b", "a?b", "CON", "con.txt", "lpt1")
ENDS = ("dot at the end.", "folder./file")
BLANK_ENDS = ("blank at the end ", " ", "folder /file")
NOWHERE = ("a\nb", "tab\t", "x" * 216, "y" * 255, os.fsdecode(b"\xff\xfe"))
"""Control characters, parts that leave no room for a suffix, bytes that are no text."""

COMPOSED, DECOMPOSED = "Zo\u00eb.cer", "Zoe\u0308.cer"
TWINS = (("CASE.pem", "case.pem"), (COMPOSED, DECOMPOSED))

# What each backend can't hold; the rest travels.
HELD: Mapping[str, tuple[str, ...]] = {
    "file": (),
    "smb": (*SMB_FORBIDS, *ENDS, *BLANK_ENDS, "back\\slash", "..."),
    "s3": (),
    "azureblob": (*ENDS, "back\\slash", "..."),
    "gcpbucket": (),
}


def below(names: tuple[str, ...]) -> dict[str, bytes]:
    """A content of its own for each name below certs/; none at all for those that say so."""
    contents = {f"certs/{name}": os.fsencode(f"content of {name}") for name in names}
    return {path: b"" if path.endswith("empty") else data for path, data in contents.items()}


def held(health: Health) -> dict[str, str]:
    """The configuration's held files with the reasons, as the status shows them: 20 at most."""
    return dict(health.sections["configuration"]()["held"])


def first_shown(paths: Iterable[str]) -> set[str]:
    """The first 20 as people are shown them."""
    return {path.encode(errors="backslashreplace").decode() for path in sorted(paths)[:20]}


@pytest.mark.parametrize("kind", KINDS)
async def test_what_can_travel_arrives_and_the_rest_is_told(
    kind: str, make_nodes: MakeNodes
) -> None:
    """Every name arrives byte for byte on the other node or is held with a reason; what is held
    stays where it is, and neither node is kept from its other work."""
    one, two = make_nodes(kind, 2)
    every = {*EVERYWHERE, *SMB_FORBIDS, *ENDS, *BLANK_ENDS}
    if kind != "smb":
        every.update(*TWINS)
    if kind != "s3":  # SeaweedFS makes it a slash; S3 itself does not
        every.add("back\\slash")
    staying = below((*HELD[kind], *NOWHERE))
    travelling = {p: d for p, d in below(tuple(every)).items() if p not in staying}
    health = Health()
    async with joined(one, health), joined(two):
        for path, data in {**travelling, **staying}.items():
            one.write(path, data)
        await eventually(lambda: two.files() == travelling, LIMIT)
        await eventually(lambda: held(health).keys() == first_shown(staying), LIMIT)
        section = health.sections["configuration"]()
        assert section["heldCount"] == len(staying) and not section["failed"]
        assert all(held(health).values()), "each with its reason"
        after = {"hosts/after.xml": b"<after/>", "data/also empty": b""}
        for path, data in after.items():
            two.write(path, data)
        await eventually(lambda: one.files() == travelling | staying | after, LIMIT)


async def test_of_twins_on_smb_the_first_travels_and_the_second_is_held(
    make_nodes: MakeNodes,
) -> None:
    """The second of two names that differ in case or composition only stays in home and names the
    first, which goes on travelling."""
    one, two = make_nodes("smb", 2)
    first = below(tuple(name for name, _ in TWINS))
    second = below(tuple(name for _, name in TWINS))
    health = Health()
    async with joined(one, health), joined(two):
        for path, data in first.items():
            one.write(path, data)
        await eventually(lambda: two.files() == first, LIMIT)
        for path, data in second.items():
            one.write(path, data)
        await eventually(lambda: held(health).keys() == second.keys(), LIMIT)
        assert all("differs only in case" in reason for reason in held(health).values())
        changed = {path: data + b" once more" for path, data in first.items()}
        for path, data in changed.items():
            two.write(path, data)
        await eventually(lambda: one.files() == changed | second, LIMIT)


@pytest.mark.parametrize("kind", ["file", "smb"])
async def test_a_rename_that_changes_case_only_is_one_file_everywhere(
    kind: str, make_nodes: MakeNodes
) -> None:
    """The old name goes from the other home and from the repository."""
    one, two = make_nodes(kind, 2)
    async with joined(one), joined(two), opened(one.connector()) as repository:
        one.write("hosts/ACME.xml", b"<Host/>")
        one.write("certs/kept.cer", b"kept")
        await eventually(lambda: "hosts/ACME.xml" in two.files(), LIMIT)
        (one.home / "hosts/ACME.xml").rename(one.home / "hosts/Acme.xml")
        expected = {"hosts/Acme.xml": b"<Host/>", "certs/kept.cer": b"kept"}
        await eventually(lambda: two.files() == one.files() == expected, LIMIT)
        assert await stored(repository) == expected
