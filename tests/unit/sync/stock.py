"""The files that Harmony's image brings along, in a node's home."""

from collections.abc import Callable

from tests.unit.sync.bench import Bench

__all__ = ["STOCK", "Node", "as_bytes", "stock"]

Node = Callable[[str], Bench]

STOCK = {
    "hosts/Local Listener.xml": "<Host/>",
    "conf/Options.xml": "<Options stock='1'/>",
    "certs/CLEO.cer": "stock certificate",
}


def stock(node: Bench) -> None:
    """The files that Harmony's image brings along."""
    for path, text in STOCK.items():
        node.write(path, text)
    node.write("webserver/index.html", "<html/>")
    node.write("conf/Sync.xml", "<Sync/>")


def as_bytes(files: dict[str, str]) -> dict[str, bytes]:
    """The same with the contents as bytes."""
    return {path: text.encode() for path, text in files.items()}
