"""Archives that are damaged, foreign or only half there disturb nothing."""

import gzip
import io
import time
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from harmony_agent.logs.sources.generations import Incomplete, archived, open_source

LOG = b"<Log><Session><Run>" + b"<Event><End/><Mark/></Event>\n" * 20


def zipped() -> bytes:
    """A zip with two logs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("Harmony1.xml", LOG)
        file.writestr("Harmony2.xml", LOG)
    return packed.getvalue()


WHOLE = {"gzip": gzip.compress(LOG), "zip": zipped()}


@settings(max_examples=400)
@given(
    st.sampled_from(sorted(WHOLE)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    st.floats(0.5, 1.5),
)
@example("zip", [(0.9921875, 1)], 1.0)  # a directory at a negative place
def test_a_damaged_archive_is_left_out_or_waited_for(
    form: str, damage: list[tuple[float, int]], length: float
) -> None:
    """Bytes changed anywhere, the end cut off: each file in it is opened, left out or waited for,
    and nothing else comes of it."""
    data = bytearray(WHOLE[form])
    for place, value in damage:
        data[int(place * (len(data) - 1))] = value
    with TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "archive").mkdir()
        (home / "archive" / "x.zip").write_bytes(data[: int(length * len(data))])
        for generation in archived(home / "Harmony.xml", home / "archive", time.time_ns() - 10**9):
            try:
                source = open_source(generation, home)
            except Incomplete:
                continue
            if source is not None:
                source.close()
