"""The page's files: they need nothing from elsewhere and can't turn data into markup."""

import re
from pathlib import Path

import pytest

import harmony_agent.web.page
from tests.unit.web.conftest import Client

FOLDER = Path(harmony_agent.web.page.__file__).with_name("static")
FILES = sorted(path.name for path in FOLDER.iterdir())
# Whatever makes markup or code of a string; the content security policy forbids it as well.
SINKS = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc|\beval\b|new Function"
    r"|setHTML|createContextualFragment|javascript:"
)


@pytest.mark.parametrize("name", FILES)
async def test_every_file_is_served_with_its_type(client: Client, name: str) -> None:
    """What lies in the folder is what the page can load, and is not sent twice."""
    async with client() as agent:
        answer = await agent.get(f"/static/{name}")
        assert answer.content == (FOLDER / name).read_bytes()
        kinds = {"js": "javascript", "css": "css", "html": "html", "svg": "svg"}
        assert kinds[name.rpartition(".")[2]] in answer.headers["content-type"]
        again = await agent.get(
            f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]}
        )
    assert (again.status_code, again.content) == (304, b"")


async def test_the_page_runs_its_own_scripts_only(client: Client) -> None:
    """No inline script or handler, nothing from another origin, never inside a frame."""
    async with client() as agent:
        answer = await agent.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|<style|\sstyle=", answer.text)


@pytest.mark.parametrize("name", FILES)
def test_no_file_reaches_elsewhere_or_makes_markup_of_text(name: str) -> None:
    """No address of another host (but the SVG namespace), no dangerous sink."""
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert not SINKS.search(text)
    assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z0-9-]+\.", text)


def test_whatever_a_file_asks_for_is_there() -> None:
    """Links, scripts, imports and ids named in a script exist."""
    page = (FOLDER / "index.html").read_text(encoding="utf-8")
    scripts = "".join(path.read_text(encoding="utf-8") for path in FOLDER.glob("*.js"))
    for name in re.findall(r'(?:/static/|from "\./)([\w.]+)"', page + scripts):
        assert name in FILES
    ids = set(re.findall(r'\sid="([\w-]+)"', page))
    assert set(re.findall(r'find\("([\w-]+)"\)', scripts)) <= ids
    assert set(re.findall(r'\s(?:for|aria-labelledby)="([\w-]+)"', page)) <= ids


@pytest.mark.parametrize(
    "path", ["/static/nothing.js", "/static/..%2fpage.py", "/static/%2e%2e", "/static/a%00b"]
)
async def test_a_name_never_becomes_a_path(client: Client, path: str) -> None:
    """Only the folder's own files, by name."""
    async with client() as agent:
        assert (await agent.get(path)).status_code == 404


async def test_with_a_token_the_shell_is_open_and_holds_no_data(client: Client) -> None:
    """The page has to be there to ask for the token."""
    async with client(peer="10.0.0.7", token=lambda: "the-token", facts={"node": "n-17"}) as agent:
        answer = await agent.get("/")
    assert answer.status_code == 200
    assert "n-17" not in answer.text
