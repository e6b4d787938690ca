"""Secret files: upstream's own examples are understood, bad ones are explained."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fixtures.samples import DATADOG, GCP_KEY, REPOSITORIES, SPLUNK, write_secrets
from harmony_agent.settings.load import load
from harmony_agent.settings.model import (
    AzureBlobRepository,
    DatadogLogSystem,
    FileRepository,
    GcpBucketRepository,
    LocalLogSystem,
    S3Repository,
    Settings,
    SmbRepository,
    SplunkLogSystem,
)
from harmony_agent.settings.report import SettingsError
from harmony_agent.settings.secret_files import KNOWN, fingerprint

SECRETS = ("s3-secret-key", "smb-password", "azure-key", "example-private-key", "dd-api-key",
           "dd-app-key", "hec-token", "c0de-4711-of-cleo")  # fmt: skip


def load_from(directory: Path, **environ: str) -> tuple[Settings, str]:
    """The settings and all warnings as one text."""
    found, warnings = load(
        {
            "CLEO_SYSTEM_NAME": "System1",
            "CLEO_SECRETS_MOUNT_POINT": str(directory),
            "HARMONY_AGENT_HOST": "harmony-1",
            **environ,
        }
    )
    return found, "\n".join(map(str, warnings))


def mistakes_of(directory: Path, **environ: str) -> str:
    """All mistakes as one text."""
    with pytest.raises(SettingsError) as caught:
        load_from(directory, **environ)
    return "\n".join(map(str, caught.value.mistakes))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("file", FileRepository),
        ("s3", S3Repository),
        ("smb", SmbRepository),
        ("azureblob", AzureBlobRepository),
        ("gcpbucket", GcpBucketRepository),
    ],
)
def test_published_repository_examples_are_understood(
    tmp_path: Path, name: str, expected: type
) -> None:
    """Each example that upstream publishes is read for either repository without a mistake."""
    write_secrets(
        tmp_path, cleo_config_repo=REPOSITORIES[name], cleo_runtime_repo=REPOSITORIES[name]
    )
    found, _ = load_from(tmp_path)
    assert isinstance(found.config_repository, expected)
    assert isinstance(found.runtime_repository, expected)


def test_every_property_of_the_examples_arrives(tmp_path: Path) -> None:
    """Values land in the fields they belong to, the share path split and the root kept."""
    write_secrets(tmp_path, cleo_config_repo=REPOSITORIES["s3"])
    s3 = load_from(tmp_path)[0].config_repository
    assert isinstance(s3, S3Repository)
    assert (s3.bucket, s3.region, s3.protocol, str(s3.root)) == (
        "harmony-files", "eu-central-1", "https", "cleo/harmony",
    )  # fmt: skip
    assert s3.secret_access_key is not None
    assert s3.secret_access_key.get_secret_value() == "s3-secret-key"

    write_secrets(tmp_path, cleo_config_repo=REPOSITORIES["smb"])
    smb = load_from(tmp_path)[0].config_repository
    assert isinstance(smb, SmbRepository)
    assert (smb.server, smb.share, smb.user) == ("1.2.3.4", "containershare", "harmony")

    write_secrets(tmp_path, cleo_config_repo=REPOSITORIES["gcpbucket"])
    gcs = load_from(tmp_path)[0].config_repository
    assert isinstance(gcs, GcpBucketRepository)
    assert gcs.account_key is not None
    assert gcs.account_key.get_secret_value().strip() == GCP_KEY


@pytest.mark.parametrize(
    ("path", "server", "share", "root"),
    [
        ("//files/share", "files", "share", "."),
        (r"\\files\share", "files", "share", "."),
        ("//files/share/a/b", "files", "share", "a/b"),
        ("//files:8445/share", "files", "share", "."),
    ],
)
def test_share_paths_take_either_slash_and_a_folder(
    tmp_path: Path, path: str, server: str, share: str, root: str
) -> None:
    """A share path is split into server, share and root however it is written."""
    write_secrets(
        tmp_path, cleo_config_repo=REPOSITORIES["smb"].replace("//1.2.3.4/containershare", path)
    )
    smb = load_from(tmp_path)[0].config_repository
    assert isinstance(smb, SmbRepository)
    assert (smb.server, smb.share, str(smb.root)) == (server, share, root)


@pytest.mark.parametrize("spelling", ["GCS", "gcs", "GcpBucket", "gcpbucket"])
def test_types_are_compared_without_case(tmp_path: Path, spelling: str) -> None:
    """All spellings that upstream's documents use mean the same connector."""
    write_secrets(
        tmp_path, cleo_config_repo=REPOSITORIES["gcpbucket"].replace("GCPBucket", spelling)
    )
    assert isinstance(load_from(tmp_path)[0].config_repository, GcpBucketRepository)


def test_datadog_example_is_read_although_it_is_not_yaml(tmp_path: Path) -> None:
    """`host: %hostname%` is taken as if quoted, with a warning that names the line."""
    write_secrets(tmp_path, cleo_log_system=DATADOG)
    found, warnings = load_from(tmp_path)
    assert isinstance(found.log_system, DatadogLogSystem)
    assert found.log_system.host == "%hostname%"
    assert found.log_system.batch_count == 10000
    assert "line 7" in warnings
    assert "quotes" in warnings


def test_splunk_example_is_read(tmp_path: Path) -> None:
    """The published Splunk example gives URL, host and token."""
    write_secrets(tmp_path, cleo_log_system=SPLUNK)
    found, _ = load_from(tmp_path)
    assert isinstance(found.log_system, SplunkLogSystem)
    assert found.log_system.url == "https://splunk.example.com:8088"


def test_without_log_system_secret_events_are_kept_locally(tmp_path: Path) -> None:
    """The optional secret's absence means the embedded store."""
    found, _ = load_from(write_secrets(tmp_path))
    assert isinstance(found.log_system, LocalLogSystem)


def test_values_that_look_like_other_yaml_types_stay_as_written(tmp_path: Path) -> None:
    """A password of `0123` or `yes` is not turned into a number or a truth value."""
    for password in ("01234", "true", "1_000", "2026-01-01", "~abc"):
        text = REPOSITORIES["smb"].replace("smb-password", password)
        write_secrets(tmp_path, cleo_config_repo=text)
        smb = load_from(tmp_path)[0].config_repository
        assert isinstance(smb, SmbRepository)
        assert smb.password.get_secret_value() == password


def test_trailing_line_ends_are_cut_from_codes_and_nothing_from_the_license(tmp_path: Path) -> None:
    """`--from-file` keeps a final newline; the license file is taken byte for byte."""
    write_secrets(tmp_path, cleo_license=b"license.key=1\r\n\r\n")
    found, _ = load_from(tmp_path)
    assert found.license is not None
    assert found.license.verification_code.get_secret_value() == "c0de-4711-of-cleo"
    assert found.license.key.get_secret_value() == b"license.key=1\r\n\r\n"


def test_mail_settings_come_from_system_settings_and_yield_to_the_environment(
    tmp_path: Path,
) -> None:
    """Administrator, sender and SMTP proxy are found where Harmony keeps them."""
    document = (
        "options:\n  other:\n    orchestration:\n"
        "      systemAdministratorEmailAddress: admin@example.com\n"
        "      systemFromEmailAddress: harmony@example.com\n"
        "proxies:\n  defaultProxies: {}\n  proxies:\n"
        "  - type: vlproxy\n    url: http://2.4.6.8:8080\n"
        "  - type: smtp\n    url: smtp://mail.example.com:25\n"
    )
    write_secrets(tmp_path, cleo_system_settings=document)
    mail = load_from(tmp_path)[0].mail
    assert (mail.administrator, mail.sender) == ("admin@example.com", "harmony@example.com")
    assert mail.smtp_url is not None
    assert mail.smtp_url.get_secret_value() == "smtp://mail.example.com:25"
    mail = load_from(tmp_path, HARMONY_AGENT_ADMIN_EMAIL="ops@example.com")[0].mail
    assert mail.administrator == "ops@example.com"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cleo_config_repo": ""}, ["cleo-config-repo", "is empty"]),
        ({"cleo_config_repo": b"\x00\xff\xfe"}, ["cleo-config-repo", "is not text"]),
        ({"cleo_config_repo": "type: [s3\nx"}, ["cleo-config-repo", "not valid YAML", "line"]),
        ({"cleo_config_repo": "- a\n- b"}, ["is not a YAML mapping"]),
        ({"cleo_config_repo": "just words"}, ["is not a YAML mapping"]),
        ({"cleo_config_repo": "connectorProperties: {}"}, ["type", "is missing", "file, smb"]),
        ({"cleo_config_repo": "type: ftp"}, ["'ftp' is not known", "file, smb"]),
        ({"cleo_config_repo": "type: s3\nconnectorProperties: none"}, ["is not a mapping"]),
        ({"cleo_config_repo": "type: s3\ntype: smb"}, ["stands twice"]),
        (
            {"cleo_config_repo": "type: s3\nrootPath: >path>\nconnectorProperties:\n  bucket: b"},
            ["not valid YAML", "line 2"],
        ),
        ({"cleo_config_repo": "type: s3"}, ["connectorProperties.bucket", "is missing"]),
        (
            {"cleo_config_repo": "type: file\nconnectorProperties:\n  rootPath: relative"},
            ["absolute path"],
        ),
        (
            {"cleo_config_repo": "type: smb\nconnectorProperties:\n  sharePath: /x"},
            ["//server/share"],
        ),
        (
            {"cleo_config_repo": "type: smb\nrootPath: [a]\nconnectorProperties:\n"
                                 "  sharePath: //s/d"},
            ["rootPath", "single value"],
        ),
        (
            {"cleo_config_repo": "type: smb\nconnectorProperties:\n  domain: d"},
            ["connectorProperties.sharePath: is missing", "//server/share", "userName: is missing"],
        ),
        (
            {"cleo_config_repo": "type: s3\nconnectorProperties:\n  bucket: b\n  pathStyle: [on]"},
            ["connectorProperties.pathStyle", "single value"],
        ),
        (
            {"cleo_config_repo": "type: s3\nconnectorProperties:\n  bucket: <bucket>"},
            ["connectorProperties.bucket", "placeholder"],
        ),
        (
            {"cleo_config_repo": "type: gcs\nconnectorProperties:\n  bucketName: b\n"
                                 "  googleAccountKey: nonsense"},
            ["googleAccountKey", "is not JSON"],
        ),
        ({"cleo_license": b"\x00\x01"}, ["cleo-license", "is not text"]),
        ({"cleo_license_verification_code": "\n"}, ["cleo-license-verification-code", "is empty"]),
        ({"cleo_license_serial": "nope"}, ["cleo-license-serial", "AA1234-ZZ5678"]),
        ({"cleo_log_system": "type: syslog"}, ["'syslog' is not known", "splunk, datadog, local"]),
        ({"cleo_log_system": SPLUNK.replace("https://splunk", "tcp://splunk")}, ["url", "URL"]),
        ({"cleo_system_settings": "a: [1"}, ["cleo-system-settings", "not valid YAML"]),
        ({"cleo_default_admin_password": ""}, ["cleo-default-admin-password", "is empty"]),
    ],
)  # fmt: skip
def test_a_bad_secret_file_is_named_with_key_and_remedy(
    tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    """Each kind of bad content gives a mistake with the file, what is wrong and what is right."""
    text = mistakes_of(write_secrets(tmp_path, **change))
    for word in words:
        assert word in text


def test_all_mistakes_come_in_one_report(tmp_path: Path) -> None:
    """Four things wrong in four places are four mistakes of one run."""
    write_secrets(tmp_path, cleo_config_repo="", cleo_runtime_repo="type: ftp", cleo_log_system="x")
    (tmp_path / "cleo-license").unlink()
    with pytest.raises(SettingsError) as caught:
        load_from(tmp_path, HARMONY_AGENT_GRACE_PERIOD="5d")
    sources = {Path(m.source).name if "/" in m.source else m.key for m in caught.value.mistakes}
    assert sources == {
        "cleo-config-repo", "cleo-runtime-repo", "cleo-log-system", "cleo-license",
        "HARMONY_AGENT_GRACE_PERIOD",
    }  # fmt: skip


def test_unknown_properties_are_warned_about_with_the_nearest_known_one(tmp_path: Path) -> None:
    """A misspelt optional property does not stop the agent but is told."""
    write_secrets(
        tmp_path,
        cleo_config_repo=REPOSITORIES["s3"].replace("region:", "regoin:"),
        cleo_log_system=SPLUNK + "more: x\n",
    )
    _, warnings = load_from(tmp_path)
    assert "connectorProperties.regoin" in warnings
    assert "did you mean region?" in warnings
    assert "more" in warnings


def test_missing_directory_is_one_clear_mistake(tmp_path: Path) -> None:
    """A directory that is not mounted is named once instead of four missing files."""
    text = mistakes_of(tmp_path / "nowhere")
    assert "does not exist" in text
    assert "CLEO_SECRETS_MOUNT_POINT" in text
    assert "is missing" not in text


def test_jobs_switched_off_need_no_secret(tmp_path: Path) -> None:
    """With every job off the secrets of those jobs may be absent."""
    tmp_path.joinpath("empty").mkdir()
    off = dict.fromkeys(
        ["HARMONY_AGENT_LICENSE", "HARMONY_AGENT_CONFIG_SYNC", "HARMONY_AGENT_RUNTIME_MIRROR"],
        "off",
    )
    found, _ = load_from(tmp_path / "empty", **off)
    assert found.license is None
    assert found.config_repository is None


def test_no_secret_shows_in_any_repr(tmp_path: Path) -> None:
    """Printing the settings, whole or in parts, shows no secret value."""
    for name, text in REPOSITORIES.items():
        log_system = DATADOG if name == "s3" else SPLUNK
        write_secrets(
            tmp_path, cleo_config_repo=text, cleo_runtime_repo=text, cleo_log_system=log_system
        )
        found, _ = load_from(tmp_path, HARMONY_AGENT_API_TOKEN="api-token-value")
        shown = f"{found!r}{found}{found.config_repository!r}"
        for secret in (*SECRETS, "api-token-value", "0[1]2^3"):
            assert secret not in shown


def test_files_are_read_through_one_resolved_directory(tmp_path: Path) -> None:
    """Kubernetes' `..data` layout is followed, and a swap changes the fingerprint."""
    write_secrets(tmp_path / "..2026_1")
    (tmp_path / "..data").symlink_to("..2026_1")
    for name in ("cleo-license", "cleo-license-verification-code", "cleo-config-repo",
                 "cleo-runtime-repo"):  # fmt: skip
        (tmp_path / name).symlink_to(f"..data/{name}")
    load_from(tmp_path)
    before = fingerprint(tmp_path)
    write_secrets(tmp_path / "..2026_2", cleo_license_verification_code="rotated-code")
    (tmp_path / "..data_tmp").symlink_to("..2026_2")
    (tmp_path / "..data_tmp").rename(tmp_path / "..data")
    assert fingerprint(tmp_path) != before
    found, _ = load_from(tmp_path)
    assert found.license is not None
    assert found.license.verification_code.get_secret_value() == "rotated-code"


def test_an_unreadable_file_is_told(tmp_path: Path) -> None:
    """A directory or a dangling link where a file should be is a mistake, not a traceback."""
    write_secrets(tmp_path)
    (tmp_path / "cleo-license").unlink()
    (tmp_path / "cleo-license").mkdir()
    (tmp_path / "cleo-config-repo").unlink()
    (tmp_path / "cleo-config-repo").symlink_to("gone")
    text = mistakes_of(tmp_path)
    assert "cleo-license: can't be read" in text
    assert "cleo-config-repo: can't be read" in text


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(KNOWN),
    content=st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.sampled_from(["s3", "smb", "file", "GCS", "AzureBlob", "splunk", "datadog", "local"])
        .flatmap(
            lambda kind: st.dictionaries(
                st.sampled_from(
                    ["rootPath", "bucket", "accessKey", "sharePath", "url", "token", "port",
                     "batchCount", "googleAccountKey", "maxAge", "protocol", "zzz"]
                ),
                st.one_of(st.text(max_size=20), st.integers().map(str)),
            ).map(
                lambda p: (
                    f"type: {kind}\nconnectorProperties:\n"
                    + "".join(f"  {k}: {v}\n" for k, v in p.items())
                ).encode()
            )
        ),
    ),
)  # fmt: skip
def test_no_content_gives_anything_but_settings_or_mistakes(
    tmp_path: Path, name: str, content: bytes
) -> None:
    """Whatever stands in a secret file, loading ends in settings or a report; never a traceback."""
    directory = write_secrets(tmp_path / "any")
    for old in directory.iterdir():
        if old.name not in ("cleo-license", "cleo-license-verification-code", "cleo-config-repo",
                            "cleo-runtime-repo"):  # fmt: skip
            old.unlink()
    (directory / name).write_bytes(content)
    try:
        found, _ = load_from(directory)
    except SettingsError as error:
        assert error.mistakes
        assert all(str(mistake) for mistake in error.mistakes)
    else:
        assert found.system == "System1"


def test_a_file_the_user_may_not_read_is_told(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Permission denied on a secret is a mistake that names the file."""
    write_secrets(tmp_path)
    (tmp_path / "cleo-license").chmod(0)
    if os.geteuid() == 0:  # root reads everything: read as somebody else
        for directory in (tmp_path, *tmp_path.parents[:-2]):
            directory.chmod(0o755)
        os.seteuid(65534)
        request.addfinalizer(lambda: os.seteuid(0))
    assert "cleo-license: can't be read" in mistakes_of(tmp_path)
