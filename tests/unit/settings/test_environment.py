"""Environment and flags: who wins, what is refused, what is warned about."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures.samples import write_secrets
from harmony_agent.settings import values
from harmony_agent.settings.load import load
from harmony_agent.settings.model import Settings
from harmony_agent.settings.report import Report, SettingsError
from harmony_agent.settings.variables import VARIABLES, read_environment


def load_with(tmp_path: Path, flags: dict[str, str] | None = None, **environ: str) -> Settings:
    """Settings from a full set of secrets and these variables and flags."""
    base = {
        "CLEO_SYSTEM_NAME": "System1",
        "CLEO_SECRETS_MOUNT_POINT": str(write_secrets(tmp_path / "secrets")),
        "HARMONY_AGENT_HOST": "harmony-1",
    }
    return load({**base, **environ}, flags)[0]


def warnings_with(**environ: str) -> str:
    """The warnings that reading these variables gives."""
    report = Report()
    read_environment(environ, {}, report)
    return "\n".join(map(str, report.warnings))


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    """Without any variable of ours the documented defaults hold."""
    found = load_with(tmp_path)
    assert str(found.home) == "/opt/harmony"
    assert str(found.state_dir) == "/var/lib/harmony-agent"
    assert str(found.signal_dir) == "/var/run/harmony-agent"
    assert found.drain_timeout == 25
    assert found.license is not None
    assert found.license.grace_period == 4 * 86400
    assert found.license.url == "https://license.cleo.com"
    assert (found.sync.poll_interval, found.sync.list_interval) == (5, 300)
    assert found.sync.max_delete == pytest.approx(0.1)


def test_a_flag_wins_over_its_variable(tmp_path: Path) -> None:
    """The command line is the last word."""
    found = load_with(tmp_path, {"home": "/from/flag"}, HARMONY_AGENT_HOME="/from/env")
    assert str(found.home) == "/from/flag"


def test_an_empty_variable_counts_as_not_given(tmp_path: Path) -> None:
    """Charts set empty values; they must not replace the default."""
    assert str(load_with(tmp_path, HARMONY_AGENT_HOME="").home) == "/opt/harmony"


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    """`…_FILE` is read without its final line end, and yields to the variable itself."""
    (tmp_path / "token").write_text("from-file\n")
    found = load_with(tmp_path, HARMONY_AGENT_API_TOKEN_FILE=str(tmp_path / "token"))
    assert found.api_token is not None
    assert found.api_token.get_secret_value() == "from-file"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HARMONY_AGENT_GRACE_PERIOD", "5d", "never lengthened"),
        ("HARMONY_AGENT_GRACE_PERIOD", "soon", "duration"),
        ("HARMONY_AGENT_ADMIN_TIMEZONE", "Middle-earth/Shire", "IANA"),
        ("HARMONY_AGENT_ADMIN_TIMEZONE", "Europe", "IANA"),
        ("HARMONY_AGENT_SIGNAL_PROCESS", "java (-jar", "regular expression"),
        ("HARMONY_AGENT_ADMIN_TIMEZONE", "../etc/passwd", "IANA"),
        ("HARMONY_AGENT_HOST", "a/b", "one folder name"),
        ("HARMONY_AGENT_HOST", "..", "one folder name"),
        ("HARMONY_AGENT_HOST", "Certs", "configuration folder"),
        ("HARMONY_AGENT_HOST", "importedidps", "configuration folder"),
        ("CLEO_SYSTEM_NAME", "../x", "one folder name"),
        ("HARMONY_AGENT_BIND", "8090", "address:port"),
        ("HARMONY_AGENT_BIND", "::1:8090", "brackets"),
        ("HARMONY_AGENT_LICENSE_URL", "http://license", "https://"),
        ("HARMONY_AGENT_LICENSE_URL", "https://u:p@license", "must not hold"),
        ("HARMONY_AGENT_MAX_DELETE", "10", "share such as 10%"),
        ("HARMONY_AGENT_LOG_LEVEL", "loud", "debug, info"),
        ("HARMONY_AGENT_CONFIG_SYNC", "maybe", "on or off"),
        ("HARMONY_AGENT_HOME", "relative", "absolute path"),
        ("HARMONY_AGENT_CA_BUNDLE", "/nowhere.pem", "can't be used"),
        ("HARMONY_AGENT_API_TOKEN_FILE", "/nowhere", "can't be read"),
        ("HARMONY_AGENT_ADMIN_EMAIL", "ops\nBcc: x@y", "mail address"),
        ("HARMONY_AGENT_SERIAL", "x", "AA1234-ZZ5678"),
        ("HARMONY_AGENT_SMTP_URL", "mail.example.com", "smtp://, smtp+starttls://"),
    ],
)
def test_a_bad_value_is_refused_with_the_remedy(
    tmp_path: Path, name: str, value: str, words: str
) -> None:
    """Each variable says what would be right."""
    with pytest.raises(SettingsError) as caught:
        load_with(tmp_path, None, **{name: value})
    text = "\n".join(map(str, caught.value.mistakes))
    assert name in text
    assert words in text


def test_unknown_variables_are_warned_about_with_the_nearest_known_one() -> None:
    """A misspelt variable is told, with what was probably meant."""
    assert "did you mean HARMONY_AGENT_HOME?" in warnings_with(HARMONY_AGENT_HOEM="/x")


def test_variables_that_kubernetes_injects_are_no_surprise() -> None:
    """A Service called harmony-agent makes Kubernetes set these; they give no warning."""
    injected = {
        "HARMONY_AGENT_PORT": "tcp://10.0.0.1:8090",
        "HARMONY_AGENT_SERVICE_HOST": "10.0.0.1",
        "HARMONY_AGENT_SERVICE_PORT": "8090",
        "HARMONY_AGENT_SERVICE_PORT_HEALTH": "8090",
        "HARMONY_AGENT_PORT_8090_TCP": "tcp://10.0.0.1:8090",
        "HARMONY_AGENT_PORT_8090_TCP_ADDR": "10.0.0.1",
    }
    assert not warnings_with(**injected)


def test_a_random_container_name_gives_a_warning(tmp_path: Path) -> None:
    """Docker's random host name would lose the message IDs at the next start."""
    secrets = write_secrets(tmp_path / "secrets")
    _, warnings = load(
        {
            "CLEO_SYSTEM_NAME": "S",
            "CLEO_SECRETS_MOUNT_POINT": str(secrets),
            "HARMONY_AGENT_HOST": "0123456789ab",
        }
    )
    assert any("random container name" in str(warning) for warning in warnings)


@pytest.mark.parametrize("zone", ["CET-1CEST", "Nowhere/City", "/etc/localtime", "../x", "\x00"])
def test_an_unknown_time_zone_is_warned_about_and_left_to_the_system(
    tmp_path: Path, zone: str
) -> None:
    """A TZ that is no IANA name never stops the agent."""
    environ = {
        "CLEO_SYSTEM_NAME": "S",
        "CLEO_SECRETS_MOUNT_POINT": str(write_secrets(tmp_path / "secrets")),
        "HARMONY_AGENT_HOST": "harmony-1",
        "TZ": zone,
    }
    found, warnings = load(environ)
    assert found.time_zone is None
    assert any(warning.key == "TZ" for warning in warnings)
    assert load({**environ, "TZ": ":Europe/Berlin"})[0].time_zone == "Europe/Berlin"


def test_every_variable_has_a_usable_default_and_a_flag_of_its_own() -> None:
    """The table is consistent: defaults can be read, names and flags are unique."""
    for variable in VARIABLES:
        if variable.default is not None:
            variable.read(variable.default)
    assert len({v.flag for v in VARIABLES}) == len(VARIABLES)


@given(st.integers(0, 400), st.integers(0, 59), st.integers(0, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    """A duration written in parts is the sum of its parts."""
    assert values.duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds


@given(st.text(max_size=12))
def test_values_are_read_or_refused_with_words(text: str) -> None:
    """Any text given to any reader is read or refused by ValueError with a message."""
    for variable in VARIABLES:
        try:
            variable.read(text)
        except ValueError as error:
            assert str(error)
