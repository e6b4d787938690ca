"""Signatures are those that the services' own documents and SDKs arrive at."""

from collections.abc import Mapping
from datetime import datetime

import pytest

from harmony_agent.repositories.http.request import quoted
from harmony_agent.repositories.objects.azure_key import shared_key
from harmony_agent.repositories.objects.sigv4 import AwsKeys, query_of, signed

_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_KEY, _SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


# Amazon's own examples: docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
@pytest.mark.parametrize(
    ("path", "query", "headers", "signature"),
    [
        (
            "/test.txt",
            {},
            {"range": "bytes=0-9"},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            "/",
            {"max-keys": "2", "prefix": "J"},
            {},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
        (
            "/",
            {"lifecycle": ""},
            {},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
    ],
)
def test_amazons_examples_are_signed_as_amazon_does(
    path: str, query: Mapping[str, str], headers: Mapping[str, str], signature: str
) -> None:
    """The three of its examples that have no body."""
    named = signed(
        AwsKeys(_KEY, _SECRET),
        "us-east-1",
        datetime(2013, 5, 24),  # noqa: DTZ001 - in UTC by definition
        ("GET", path, query_of(query)),
        {"host": "examplebucket.s3.amazonaws.com", **headers},
        _EMPTY,
    )
    assert named["authorization"].endswith(f"Signature={signature}")


def test_names_and_session_tokens_are_signed_as_botocore_does() -> None:
    """A blank, an umlaut, a plus sign and a condition; the figure is botocore 1.43's."""
    named = signed(
        AwsKeys(_KEY, _SECRET, "ses/+sion"),
        "eu-central-1",
        datetime(2026, 11, 21, 8, 51),  # noqa: DTZ001 - in UTC by definition
        ("PUT", quoted("/a b/ü+~"), query_of({"x": "1+2"})),
        {"host": "b.s3.eu-central-1.amazonaws.com", "if-match": '"t"'},
        "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
    )
    assert named["x-amz-security-token"] == "ses/+sion"
    assert named["authorization"].endswith(
        "Signature=c3c9aa97c44ecdfb0d6831be1a7acaf09c37667d024418e4b6595a60c2b4cdf8"
    )


def test_no_repr_shows_a_secret() -> None:
    """Keys may end up in a log by accident."""
    assert _SECRET not in repr(AwsKeys(_KEY, _SECRET))


# Figures of azure-storage-blob 12.31 for an account `acct` whose key is `key`.
@pytest.mark.parametrize(
    ("request_", "headers", "size", "signature"),
    [
        (
            ("PUT", "/c/a%20b", {}),
            {"x-ms-blob-type": "BlockBlob", "if-none-match": "*"},
            5,
            "u1XnPqpktIj8IE4w23qq7BAb9co7yJIvvCGi9zL4hik=",
        ),
        (
            (
                "GET",
                "/c",
                {"restype": "container", "comp": "list", "include": "metadata", "prefix": "a b"},
            ),
            {},
            0,
            "q+iJriptluYms3y3gytXe1cykYbu53o/c4/AQPqzy7o=",
        ),
    ],
    ids=["put", "list"],
)
def test_azure_requests_are_signed_as_microsofts_sdk_does(
    request_: tuple[str, str, Mapping[str, str]],
    headers: Mapping[str, str],
    size: int,
    signature: str,
) -> None:
    """One with a body and a condition, one with a query."""
    dated = {"x-ms-date": "Sat, 21 Nov 2026 08:00:00 GMT", "x-ms-version": "2023-11-03"}
    found = shared_key("acct", b"key", request_, {**dated, **headers}, size)
    assert found == f"SharedKey acct:{signature}"
