"""When a file that the repository lacks is gone for certain."""

from harmony_agent.sync.decisions.absences import Absences


def test_one_listing_is_no_proof() -> None:
    """A file that a listing lacks waits for another one half a minute later."""
    absences = Absences()
    absences.listed({"certs/a"}, 100.0)
    assert absences.waits(["certs/a"], 110.0) == {"certs/a": 20.0}
    absences.listed({"certs/a"}, 129.9)
    assert absences.waits(["certs/a"], 129.9).keys() == {"certs/a"}
    absences.listed({"certs/a"}, 130.0)
    assert absences.waits(["certs/a"], 130.0) == {}


def test_a_listing_that_shows_the_file_begins_the_count_anew() -> None:
    """The two listings have to agree with nothing in between that disagrees."""
    absences = Absences()
    absences.listed({"certs/a"}, 0.0)
    absences.listed(set(), 20.0)
    absences.listed({"certs/a"}, 40.0)
    assert absences.waits(["certs/a"], 40.0) == {"certs/a": 30.0}


def test_what_a_peer_deleted_and_a_look_confirms_is_certain_at_once() -> None:
    """And no more so once the file was found again."""
    absences = Absences()
    absences.confirmed("certs/a", 5.0)
    assert absences.waits(["certs/a", "certs/b"], 5.0) == {"certs/b": 30.0}
    absences.found("certs/a")
    assert absences.waits(["certs/a"], 6.0) == {"certs/a": 30.0}
