"""What belongs to which repository."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.core.errors import Refused
from harmony_agent.sync.decisions import paths

CONFIGURATION = (
    "hosts/ACME AS2.xml",
    "hosts/Local Listener.xml",
    "conf/Options.xml",
    "conf/Route.xml",
    "certs/CLEO.cer",
    "certs/deep/er/ca.pem",
    "data/user.p12",
    "importedIDPs/okta.xml",
)
RUNTIME = (
    "AS2/data/1.id",
    "AS2/mdn/received/archive/1.mdn",
    "AS3/data/AS3msgs.txt",
    "AS2/restart/x",
    "ebXML/ack/1",
)
NEITHER = (
    "hosts/preconfigured/x.xml",
    "hosts/notes.txt",
    "conf/Sync.xml",
    "conf/system.properties",
    "license_key.txt",
    ".license/x",
    "AS2/received/1",
    "AS3/data/other.txt",
    "inbox/order.edi",
    "autorun/a.sh",
    "logs/Harmony.xml",
    "lib/x.jar",
    ".harmony-agent/home-id",
    "certs/.harmony-agent-tmp-abc",
    "data/.nfs0001",
    "Certs/upper.cer",
)


def test_the_tables_divide_harmonys_files_between_the_two() -> None:
    """Each known file belongs to one side or to none."""
    shared, own = paths.configuration(), paths.runtime()
    for path in CONFIGURATION:
        assert shared.owns(path) and not own.owns(path), path
    for path in RUNTIME:
        assert own.owns(path) and not shared.owns(path), path
    for path in NEITHER:
        assert not shared.owns(path) and not own.owns(path), path


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("reports", ["reports", "reports/a", "reports/a/b"], ["reports2", "x/reports"]),
        ("reports/", ["reports/a/b"], ["report"]),
        ("reports/*", ["reports/a"], ["reports/a/b", "reports"]),
        ("reports/**", ["reports/a", "reports/a/b"], ["reports"]),
        ("r/**/x.txt", ["r/x.txt", "r/a/b/x.txt"], ["r/x.txt/y", "x.txt"]),
        (r"AS2\received", ["AS2/received/1"], ["AS2/sent/1"]),
        ("*.properties", ["a.properties"], ["a/b.properties", "properties"]),
        ("cfg[1].xml", ["cfg[1].xml"], ["cfg1.xml"]),
        ("x/a?c", ["x/abc"], ["x/ac", "x/a/c"]),
    ],
)
def test_extra_patterns(pattern: str, inside: list[str], outside: list[str]) -> None:
    """Wildcards stay within a name, ** spans folders, a plain name stands for a whole folder."""
    own = paths.runtime([pattern])
    assert [p for p in inside if not own.owns(p)] == []
    assert [p for p in outside if own.owns(p)] == []


@pytest.mark.parametrize(
    "pattern", ["/etc/passwd", "../up", "a/../b", "", "a//b", "**", "*/x", "a/b**", "?/x"]
)
def test_a_pattern_that_leaves_home_or_reaches_everywhere_is_refused(pattern: str) -> None:
    """The message names the setting."""
    with pytest.raises(Refused, match="HARMONY_AGENT_CONFIG_EXTRA"):
        paths.configuration([pattern])


@pytest.mark.parametrize("folder", ["autorun", "lib", "logs", "temp", ".license", ".harmony-agent"])
def test_no_pattern_reaches_what_harmony_executes_or_what_is_the_agents_own(folder: str) -> None:
    """Not even by the EXTRA settings, and in no spelling of the case."""
    for make in (paths.configuration, paths.runtime):
        assert not make([f"{folder}/**", folder]).owns(f"{folder}/x")
        assert not make([f"{folder.upper()}/**"]).owns(f"{folder.upper()}/x")
        assert not make([f"{folder}/**"]).descends(folder)
    assert not paths.configuration(["inbox/**"]).owns("inbox/x")
    assert not paths.configuration(["conf/*"]).owns("conf/Sync.xml")


def test_what_is_shared_is_not_mirrored_as_well() -> None:
    """A file in both EXTRA settings belongs to the configuration."""
    shared = paths.configuration(["both/*"])
    own = paths.runtime(["both/*", "data/**", "mine/*"], shared=shared)
    assert not own.owns("both/x")
    assert not own.owns("data/user.p12")
    assert own.owns("mine/x")


name = st.text(st.sampled_from("ab*?."), min_size=1, max_size=3).filter(
    lambda n: n not in (".", "..") and "**" not in n
)
pattern = st.builds(
    lambda first, rest: "/".join([first, *rest]),
    st.sampled_from(["a", "b", "ab"]),
    st.lists(st.one_of(name, st.just("**")), max_size=3),
)
path = st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), min_size=1, max_size=5).map("/".join)


@given(st.lists(pattern, max_size=3), path)
def test_every_owned_file_is_reached_by_the_scan_and_by_the_listing(
    patterns: list[str], path: str
) -> None:
    """All folders above an owned file are descended into, and its top folder is listed."""
    own = paths.runtime(patterns)
    if own.owns(path):
        folders = path.split("/")[:-1]
        for depth in range(len(folders) + 1):
            assert own.descends("/".join(folders[:depth]))
        tops = own.folders()
        assert tops == [""] or path.partition("/")[0] in tops


@pytest.mark.parametrize(
    "bad",
    ["a/../b", "/a", "a//b", "a/", "", ".", "a\nb", "a\x7f", "x" * 300, "a/" * 500 + "b", "\udcff"],
)
def test_names_that_can_not_be_held_are_told(bad: str) -> None:
    """Relative parts, control characters, bytes that are no text, too long names."""
    assert paths.name_problem(bad) is not None


@pytest.mark.parametrize("good", ["a", "hosts/Größe [1] & Co.xml", "a/b c/…", "a\\b"])
def test_ordinary_names_are_no_problem(good: str) -> None:
    """Blanks, brackets, umlauts, backslashes on Linux."""
    assert paths.name_problem(good) is None
