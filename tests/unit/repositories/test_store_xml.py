"""Answers of object stores are read, and nothing but answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_agent.repositories.objects.store_xml import parsed

S3 = b"""<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>true</IsTruncated>
<Contents><Key>a&amp;b</Key><Size>7</Size><ETag>&quot;x&quot;</ETag>
  <Owner><ID>me</ID></Owner></Contents>
<Contents><Key>c</Key><Size>0</Size></Contents>
<NextContinuationToken>t</NextContinuationToken></ListBucketResult>"""

AZURE = b"""\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs>
<Blob><Name Encoded="true">a%EF%BF%BEb</Name><Properties><Etag>0x1</Etag></Properties></Blob>
<Blob><Name>100%25</Name></Blob></Blobs><NextMarker /></EnumerationResults>"""


def test_a_listing_has_a_row_for_each_object_and_fields_beside() -> None:
    """Entities are resolved; what lies deeper in a row belongs to it."""
    page = parsed(S3, "Contents")
    assert [row["Key"] for row in page.rows] == ["a&b", "c"]
    assert page.rows[0]["ETag"] == '"x"'
    assert page.rows[0]["ID"] == "me"
    assert page.fields["IsTruncated"] == "true"
    assert page.fields["NextContinuationToken"] == "t"
    assert "Key" not in page.fields


def test_only_names_that_azure_calls_encoded_are_decoded() -> None:
    """Others may hold a percent sign of their own."""
    page = parsed(AZURE, "Blob")
    assert [row["Name"] for row in page.rows] == ["a\ufffeb", "100%25"]
    assert "NextMarker" not in page.fields


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"<html><body>Sign in", "no XML"),
        (b"", "no XML"),
        (S3[:300], "no XML"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "declares entities"),
        (b"<a>" * 20 + b"</a>" * 20, "nested too deep"),
    ],
    ids=["login page", "nothing", "cut off", "entities", "depth"],
)
def test_what_is_no_answer_of_a_store_is_refused(document: bytes, words: str) -> None:
    """A half listing must never look like a short one."""
    with pytest.raises(ValueError, match=words):
        parsed(document, "Contents")


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(document: bytes) -> None:
    """Whatever a broken server sends."""
    try:
        parsed(document, "Contents")
    except ValueError:
        pass
