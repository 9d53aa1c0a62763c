"""Settings: documented defaults, and errors that name the variable and nothing else."""

from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from pydantic import SecretStr

from leadq_dagster.domain.errors import RefusedError
from leadq_dagster.settings import Settings, hours_of, load_settings

STORE = "postgresql://ada:s3cret@db.example.org:5432/leadq"
DEFAULTS = {
    "REPLICA_DATABASE_URL": None,
    "DATABASE_URL": None,
    "DAGSTER_DATABASE_URL": None,
    "SMART_DISCOVERY_ENABLED": True,
    "RECENT_ACTIVITY_HOURS": 48,
    "DISCOVERY_BATCH_SIZE": 5_000,
    "LEADQ_HOME": Path(".leadq"),
    "LEADQ_REPLICA_TIMEZONE": "UTC",
    "LEADQ_HEARTBEAT_TABLE": "heartbeat",
    "LEADQ_HEARTBEAT_SERVER_ID": None,
    "LEADQ_LAG_ALLOWANCE_SECONDS": 30,
    "LEADQ_REPLICA_TIMEOUT_SECONDS": 30,
    "LEADQ_STORE_TIMEOUT_SECONDS": 30,
    "LEADQ_OVERLAP_MINUTES": 180,
    "LEADQ_PARTITIONS_START": datetime(2025, 1, 1, tzinfo=UTC),
    "LEADQ_CATCH_UP_HOURS": 744,
    "LEADQ_DESK_HOST": "127.0.0.1",
    "LEADQ_DESK_PORT": 8911,
    "LEADQ_LEASE_SECONDS": 300,
    "LEADQ_LEASE_MAX_SECONDS": 3_600,
    "LEADQ_SKIP_SECONDS": 300,
    "LEADQ_UNVALIDATED_LEADS": "hand_out",
    "LEADQ_VALIDATION_TIMEOUT_SECONDS": 1,
    "LEADQ_AGENT_SILENCE_SECONDS": 120,
    "LEADQ_CALLING_HOURS": "00:00-24:00",
    "LEADQ_CALLING_TIMEZONE": "UTC",
    "LEADQ_CALLBACK_RETRY_MINUTES": 15,
    "LEADQ_CALLBACK_RETRIES_MAX": 1,
    "LEADQ_EVENT_RETENTION_DAYS": 30,
}


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def settings_with(**urls: str) -> Settings:
    return Settings.model_validate({name: SecretStr(url) for name, url in urls.items()})


def test_every_setting_has_its_documented_default() -> None:
    """P41: and what is on by default is said here."""
    assert {name.upper(): value for name, value in load_settings()} == DEFAULTS


def test_every_setting_is_described() -> None:
    for name, field in Settings.model_fields.items():
        assert (field.description or "").endswith("."), name


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """P41: the switch is off when the variable says so."""
    for name, value in {
        "SMART_DISCOVERY_ENABLED": "false",
        "RECENT_ACTIVITY_HOURS": "72",
        "LEADQ_HOME": "some folder/leadq",
        "LEADQ_REPLICA_TIMEZONE": "Europe/London",
        "LEADQ_OVERLAP_MINUTES": "0",
        "LEADQ_PARTITIONS_START": "2026-01-01T01:00+01:00",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.smart_discovery_enabled is False
    assert settings.recent_activity_hours == 72
    assert settings.leadq_home == Path("some folder/leadq")
    assert settings.leadq_replica_timezone == "Europe/London"
    assert not settings.overlap
    assert settings.leadq_partitions_start == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMART_DISCOVERY_ENABLED", "s3cret"),
        ("SMART_DISCOVERY_ENABLED", ""),
        ("RECENT_ACTIVITY_HOURS", "0"),
        ("RECENT_ACTIVITY_HOURS", "two days s3cret"),
        ("DISCOVERY_BATCH_SIZE", "99"),
        ("DISCOVERY_BATCH_SIZE", "60001"),
        ("LEADQ_REPLICA_TIMEZONE", "Mars/s3cret"),
        ("LEADQ_REPLICA_TIMEZONE", "Europe"),
        ("LEADQ_REPLICA_TIMEZONE", "../s3cret"),
        ("LEADQ_REPLICA_TIMEZONE", ""),
        ("LEADQ_LAG_ALLOWANCE_SECONDS", "-1"),
        ("LEADQ_REPLICA_TIMEOUT_SECONDS", "0"),
        ("LEADQ_STORE_TIMEOUT_SECONDS", "0"),
        ("LEADQ_OVERLAP_MINUTES", "-1"),
        ("LEADQ_OVERLAP_MINUTES", "10081"),
        ("LEADQ_PARTITIONS_START", "2025-01-01T00:30Z"),
        ("LEADQ_PARTITIONS_START", "2025-01-01T00:00+05:45"),
        ("LEADQ_PARTITIONS_START", "0001-01-01T00:00+14:00"),
        ("LEADQ_PARTITIONS_START", "s3cret"),
        ("LEADQ_CATCH_UP_HOURS", "0"),
        ("LEADQ_EVENT_RETENTION_DAYS", "0"),
        ("LEADQ_DESK_PORT", "65536"),
        ("LEADQ_LEASE_SECONDS", "9"),
        ("LEADQ_LEASE_MAX_SECONDS", "s3cret"),
        ("LEADQ_SKIP_SECONDS", "-1"),
        ("LEADQ_UNVALIDATED_LEADS", "perhaps s3cret"),
        ("LEADQ_VALIDATION_TIMEOUT_SECONDS", "0"),
        ("LEADQ_AGENT_SILENCE_SECONDS", "1"),
        ("LEADQ_CALLING_HOURS", "nine to five s3cret"),
        ("LEADQ_CALLING_HOURS", "08:00"),
        ("LEADQ_CALLING_HOURS", "08:00-12:00-20:00"),
        ("LEADQ_CALLING_TIMEZONE", "Mars/s3cret"),
        ("LEADQ_CALLBACK_RETRY_MINUTES", "0"),
        ("LEADQ_CALLBACK_RETRIES_MAX", "11"),
    ],
)
def test_a_malformed_value_is_refused_by_its_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """P40: the value is not repeated."""
    monkeypatch.setenv(name, value)
    with pytest.raises(RefusedError) as refusal:
        load_settings()
    assert str(refusal.value).startswith(f"{name}: ")
    assert "\n" not in str(refusal.value)
    assert "s3cret" not in f"{refusal.value!r} {refusal.value.__cause__}"


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("08:00-20:00", time(8), time(20)),
        ("22:00-06:30", time(22), time(6, 30)),
        ("00:00-24:00", time(0), time(0)),
        ("18:00-24:00", time(18), time(0)),
    ],
)
def test_calling_hours_are_two_times_of_day(text: str, start: time, end: time) -> None:
    """Midnight is the start of the day and its end."""
    assert hours_of(text) == (start, end)


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """P40: one line each."""
    monkeypatch.setenv("RECENT_ACTIVITY_HOURS", "none")
    monkeypatch.setenv("LEADQ_CATCH_UP_HOURS", "some")
    with pytest.raises(RefusedError) as refusal:
        load_settings()
    named = [line.split(":")[0] for line in str(refusal.value).splitlines()]
    assert named == ["RECENT_ACTIVITY_HOURS", "LEADQ_CATCH_UP_HOURS"]


def test_an_empty_database_url_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's environment file cannot leave a variable out, only empty."""
    for name in ("REPLICA_DATABASE_URL", "DATABASE_URL", "DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert settings.replica_database_url is settings.database_url is settings.dagster_database_url is None


def test_settings_print_no_password() -> None:
    """P40: whoever logs them."""
    settings = settings_with(database_url=STORE, replica_database_url="mysql://u:s3cret@h/firm")
    assert "s3cret" not in f"{settings!r} {settings} {settings.model_dump_json()}"
