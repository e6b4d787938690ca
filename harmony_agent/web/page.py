"""The page `/`: static files from the package; all data comes from the API, asked by the page."""

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from harmony_agent.web.answers import refuse

__all__ = ["asset", "index"]

_FOLDER: Final = Path(__file__).with_name("static")
_TYPES: Final = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# Nothing from elsewhere, no inline script, and no way to turn a string into markup or code.
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    tag: str


@cache
def _files() -> dict[str, _File]:
    """All files by name, read once (some 30 KiB): a name asked for never becomes a path."""
    return {path.name: _read(path) for path in _FOLDER.iterdir() if path.suffix in _TYPES}


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _deliver(request: Request, name: str) -> Response:
    file = _files().get(name)
    if file is None:
        return refuse("there is no such file", 404)
    headers = {
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-cache",  # kept, but asked about: an upgrade shows at once
        "ETag": file.tag,
    }
    if request.headers.get("if-none-match") == file.tag:
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)


async def index(request: Request) -> Response:
    """The page itself."""
    return _deliver(request, "index.html")


async def asset(request: Request) -> Response:
    """One of its files."""
    return _deliver(request, request.path_params["name"])
