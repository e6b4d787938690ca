"""A restart beside a known home is told from the first start of a new one."""

import shutil
from pathlib import Path

from harmony_agent.agent.home import Home


def test_only_the_pair_that_was_pulled_is_known(tmp_path: Path) -> None:
    """A new home with old state, and an old home with new state, both count as a first start."""
    home, state = tmp_path / "home", tmp_path / "state"
    home.mkdir()
    state.mkdir()
    assert not Home(home, state).was_pulled()
    Home(home, state).mark_pulled()
    assert Home(home, state).was_pulled()

    shutil.rmtree(home)
    home.mkdir()
    assert not Home(home, state).was_pulled()

    Home(home, state).mark_pulled()
    shutil.rmtree(state)
    state.mkdir()
    assert not Home(home, state).was_pulled()
