"""The secrets directory: flat files, mounted by Kubernetes through `..data`, or plain ones."""

import hashlib
from pathlib import Path
from typing import Final

from harmony_agent.settings.report import Report

__all__ = ["KNOWN", "SecretFiles", "fingerprint"]

KNOWN: Final = (
    "cleo-license",
    "cleo-license-verification-code",
    "cleo-config-repo",
    "cleo-runtime-repo",
    "cleo-default-admin-password",
    "cleo-system-settings",
    "cleo-log-system",
    "cleo-license-serial",
)

_LARGEST: Final = 1024 * 1024  # Kubernetes' own limit for a Secret


class SecretFiles:
    """One consistent view of the secret files.

    Kubernetes swaps all files at once by renaming the `..data` link; two reads may straddle the
    swap. So the link is resolved once, and everything is read from that directory.
    """

    def __init__(self, mount: Path, report: Report) -> None:
        self._report = report
        self._mount = mount
        data = mount / "..data"
        self._directory = data.resolve() if data.is_dir() else mount
        if not mount.is_dir():
            what = "is not a directory" if mount.exists() else "does not exist"
            report.mistake(
                str(mount),
                "",
                f"the secrets directory {what}",
                "mount the secrets there, or set CLEO_SECRETS_MOUNT_POINT",
            )

    def read_bytes(self, name: str, *, required: bool) -> bytes | None:
        """A file's content, or None; what is wrong with it goes to the report."""
        path = self._path(name)
        shown = str(self._mount / name)
        try:
            if not path.exists() and not path.is_symlink():
                if required and self._mount.is_dir():
                    self._report.mistake(
                        shown, "", "is missing", f"mount the secret {name} into {self._mount}"
                    )
                return None
            with path.open("rb") as file:
                content = file.read(_LARGEST + 1)
        except OSError as error:
            self._report.mistake(
                shown,
                "",
                f"can't be read: {error.strerror}",
                "it should be a file that the agent's user may read",
            )
            return None
        if len(content) > _LARGEST:
            self._report.mistake(shown, "", "is larger than 1 MiB", "is it the right file?")
            return None
        if not content.strip():
            self._report.mistake(shown, "", "is empty", f"the secret {name} should hold a value")
            return None
        return content

    def read_text(self, name: str, *, required: bool) -> str | None:
        """A file's content as text without trailing line ends, or None."""
        content = self.read_bytes(name, required=required)
        if content is None:
            return None
        try:
            text = content.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            self._report.mistake(
                str(self._mount / name), "", "is not text", "it should be a UTF-8 text file"
            )
            return None
        # --from-file keeps a final newline, --from-literal has none.
        return text.rstrip("\r\n")

    def source(self, name: str) -> str:
        """The file's path as messages show it."""
        return str(self._mount / name)

    def _path(self, name: str) -> Path:
        inside = self._directory / name
        return inside if inside.exists() else self._mount / name


def fingerprint(mount: Path) -> str:
    """A hash over all known secret files, which changes when a secret is rotated."""
    digest = hashlib.sha256()
    data = mount / "..data"
    directory = data.resolve() if data.is_dir() else mount
    for name in KNOWN:
        path = directory / name if (directory / name).exists() else mount / name
        try:
            content: bytes | None = path.read_bytes()
        except OSError:
            content = None
        digest.update(f"{name}:{-1 if content is None else len(content)}:".encode())
        digest.update(content or b"")
    return digest.hexdigest()
