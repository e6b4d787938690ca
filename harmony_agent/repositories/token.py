"""What names one version of one file in a repository."""

from typing import NewType

__all__ = ["Token"]

# Compared for equality only: an ETag, an Azure etag, a generation, or (id, size, write time, change
# time) of a file.
Token = NewType("Token", str)
