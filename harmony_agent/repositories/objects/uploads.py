"""The source of an upload in pieces, told apart from the server it is sent to."""

from collections.abc import AsyncIterator

from harmony_agent.core.errors import Unavailable

__all__ = ["SourceFailed", "watched"]


class SourceFailed(Exception):
    """The pieces could not be had; `reason` is what they raised."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


async def watched(size: int, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same pieces; raises SourceFailed if they raise or do not add up to `size` bytes."""
    left = size
    try:
        async for chunk in chunks:
            left -= len(chunk)
            if left < 0:
                break
            yield chunk
    except Exception as error:
        raise SourceFailed(error) from error
    if left:
        raise SourceFailed(Unavailable("the file changed its size while it was sent"))
