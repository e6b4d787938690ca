"""Where a bucket is found."""

from typing import Any

import pytest

from harmony_agent.repositories.objects.s3 import address
from harmony_agent.settings.model import S3Repository
from harmony_agent.settings.properties import build


@pytest.mark.parametrize(
    ("changes", "region", "expected"),
    [
        ({}, "eu-central-1", ("https://harmony.s3.eu-central-1.amazonaws.com", "")),
        ({"protocol": "http"}, "us-east-1", ("http://harmony.s3.us-east-1.amazonaws.com", "")),
        ({}, "cn-north-1", ("https://harmony.s3.cn-north-1.amazonaws.com.cn", "")),
        ({"path_style": True}, "eu-west-1", ("https://s3.eu-west-1.amazonaws.com", "/harmony")),
        ({"bucket": "a.b"}, "eu-west-1", ("https://s3.eu-west-1.amazonaws.com", "/a.b")),
        ({"bucket": "Old_Name"}, "us-east-1", ("https://s3.us-east-1.amazonaws.com", "/Old_Name")),
        (
            {"endpoint": "https://minio.example.com:9000/"},
            "us-east-1",
            ("https://harmony.minio.example.com:9000", ""),
        ),
        (
            {"endpoint": "https://example.com/s3", "path_style": True},
            "us-east-1",
            ("https://example.com", "/s3/harmony"),
        ),
        ({"endpoint": "http://10.1.2.3:9000"}, "x", ("http://10.1.2.3:9000", "/harmony")),
        ({"endpoint": "http://[fd00::1]:9000"}, "x", ("http://[fd00::1]:9000", "/harmony")),
    ],
)
def test_the_bucket_stands_where_it_can(
    changes: dict[str, Any], region: str, expected: tuple[str, str]
) -> None:
    """In the host name, else in the path: certificates and addresses have no sub-domains."""
    settings = build(S3Repository, {"bucket": "harmony"} | changes)
    assert address(settings, region) == expected
