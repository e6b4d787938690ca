"""Connector settings from named values."""

from pathlib import PurePosixPath
from typing import Any

import pytest

from harmony_agent.settings import model
from harmony_agent.settings.properties import Unusable, build, properties_of
from harmony_agent.settings.secret import SecretBytes, SecretStr

KINDS = (
    model.FileRepository, model.SmbRepository, model.S3Repository, model.AzureBlobRepository,
    model.GcpBucketRepository, model.SplunkLogSystem, model.DatadogLogSystem, model.LocalLogSystem,
)  # fmt: skip


def test_values_are_read_under_either_name() -> None:
    """The spelling of upstream's YAML and the field's own name mean the same."""
    expected = model.S3Repository(
        bucket="b", access_key="AK", secret_access_key=SecretStr("sk"), path_style=True
    )
    yaml = {"bucket": "b", "accessKey": "AK", "secretAccessKey": "sk", "pathStyle": "on"}
    fields = {"bucket": "b", "access_key": "AK", "secret_access_key": "sk", "path_style": True}
    assert build(model.S3Repository, yaml) == expected
    assert build(model.S3Repository, fields) == expected


def test_every_problem_is_told_by_its_name_and_no_value_is_shown() -> None:
    """Missing and unusable properties come together, each with its canonical name."""
    given = {"port": "s3cr3t", "encrypt": ["s3cr3t"], "userName": "u"}
    with pytest.raises(Unusable) as caught:
        build(model.SmbRepository, given)
    problems = dict(caught.value.problems)
    assert problems == {
        "server": None,
        "share": None,
        "userPassword": None,
        "port": "must be a TCP port, 1 to 65535",
        "encrypt": "must be a single value",
    }
    assert "s3cr3t" not in str(caught.value)


def test_properties_that_do_not_go_together_are_one_problem_without_a_name() -> None:
    """Both keys of S3, or neither."""
    with pytest.raises(Unusable) as caught:
        build(model.S3Repository, {"bucket": "b", "accessKey": "AK"})
    ((name, words),) = caught.value.problems
    assert name == ""
    assert words is not None
    assert "together" in words


def test_a_name_that_is_not_known_is_a_fault_of_the_caller() -> None:
    """What a person wrote is looked up before; nothing is dropped in silence here."""
    with pytest.raises(TypeError, match="bukket"):
        build(model.S3Repository, {"bucket": "b", "bukket": "c"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_property_says_what_it_should_be(kind: type) -> None:
    """Each one's words continue "it should be …", and no two share a spelling."""
    spellings: set[str] = set()
    for one in properties_of(kind):
        assert one.meaning
        assert not one.meaning.endswith(".")
        own = {name.lower() for name in (*one.names, one.field)}
        assert not own & spellings
        spellings |= own


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (model.SmbRepository, {"port": "65536"}),
        (model.SmbRepository, {"port": "0"}),
        (model.SmbRepository, {"port": "9" * 5000}),
        (model.FileRepository, {"rootPath": "/a/../b"}),
        (model.S3Repository, {"serverSideEncryption": "aes"}),
        (model.DatadogLogSystem, {"batchCount": "0"}),
        (model.DatadogLogSystem, {"batchCount": "-5"}),
        (model.GcpBucketRepository, {"googleAccountKey": "{}"}),
    ],
)
def test_a_value_out_of_bounds_is_refused(kind: type, given: dict[str, Any]) -> None:
    """Each reader has its limits."""
    with pytest.raises(Unusable) as caught:
        build(kind, given)
    assert dict(caught.value.problems)[next(iter(given))]


def test_defaults_hold_where_nothing_is_given() -> None:
    """A property without a value is as one that is not there."""
    found = build(model.AzureBlobRepository, {"account": "a", "container": "c", "caBundle": None})
    assert found == model.AzureBlobRepository(account="a", container="c")
    assert found.root == PurePosixPath()
    assert found.endpoint_suffix == "core.windows.net"


def test_secrets_compare_by_value_and_show_stars() -> None:
    """Rotation is noticed by comparing settings; logs print them."""
    assert SecretStr("one") == SecretStr("one") != SecretStr("two")
    assert hash(SecretStr("one")) == hash(SecretStr("one"))
    assert SecretStr("one") != "one"
    assert "one" not in f"{SecretStr('one')!r} {SecretStr('one')} {SecretBytes(b'one')!r}"
