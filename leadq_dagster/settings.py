"""Every variable leadq reads, with its unit and default. The only module that reads the environment."""

from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from leadq_dagster.domain.errors import RefusedError


class Settings(BaseSettings):
    """The settings of one process, read once from the environment.

    An unset database URL means the embedded server under `leadq_home`.
    """

    model_config = SettingsConfigDict(hide_input_in_errors=True, frozen=True)

    replica_database_url: SecretStr | None = Field(
        default=None,
        description="The firm's replica: mysql://, mariadb:// or postgresql://; read only.",
    )
    database_url: SecretStr | None = Field(default=None, description="leadq's store: postgresql://.")
    dagster_database_url: SecretStr | None = Field(
        default=None,
        description="Dagster's own storage: postgresql://; unset: database leadq_dagster beside the store.",
    )
    smart_discovery_enabled: bool = Field(
        default=True, description="false: the hourly jobs and schedules do nothing and say so."
    )
    recent_activity_hours: int = Field(
        default=48,
        ge=1,
        description="Hours before a window's end in which a call makes a user a candidate.",
    )
    discovery_batch_size: int = Field(
        default=5_000,
        ge=100,
        le=60_000,
        description="Users per page read at the replica and written in one transaction.",
    )
    leadq_home: Path = Field(
        default=Path(".leadq"), description="Folder of the embedded server and of Dagster's files."
    )
    leadq_replica_timezone: str = Field(
        default="UTC", description="Time zone of the replica's naive DATETIMEs (IANA name)."
    )
    leadq_heartbeat_table: str = Field(
        default="heartbeat",
        description="Replica table, or schema.table, with the primary's clock in ts; empty: there is none.",
    )
    leadq_heartbeat_server_id: int | None = Field(
        default=None,
        description="Whose beat counts, by the heartbeat table's server_id; unset: the oldest one.",
    )
    leadq_lag_allowance_seconds: int = Field(
        default=30,
        ge=0,
        description="Assumed replica lag in seconds where there is no heartbeat table.",
    )
    leadq_replica_timeout_seconds: int = Field(
        default=30, ge=1, description="Longest statement at the replica, in seconds."
    )
    leadq_store_timeout_seconds: int = Field(
        default=30, ge=1, description="Longest statement at the store, in seconds."
    )
    leadq_overlap_minutes: int = Field(
        default=180,
        ge=0,
        le=10_080,
        description="Minutes before a window that are read again for rows committed late.",
    )
    leadq_partitions_start: datetime = Field(
        default=datetime(2025, 1, 1, tzinfo=UTC), description="The first hourly partition, a full UTC hour."
    )
    leadq_catch_up_hours: int = Field(
        default=744,
        ge=1,
        description="Missed hours up to this age, in hours, are run by themselves.",
    )
    leadq_desk_host: str = Field(
        default="127.0.0.1",
        description="Address that the desk's service listens on; only this machine's by default.",
    )
    leadq_desk_port: int = Field(
        default=8911, ge=0, le=65_535, description="Port of the desk's service; 0: any free one."
    )
    leadq_lease_seconds: int = Field(
        default=300,
        ge=10,
        le=3_600,
        description="How long a lead is an agent's, in seconds, unless extended.",
    )
    leadq_lease_max_seconds: int = Field(
        default=3_600, ge=10, le=86_400, description="Longest extension of a lease, in seconds from now."
    )
    leadq_skip_seconds: int = Field(
        default=300, ge=0, le=86_400, description="How long a lead given back uncalled waits, in seconds."
    )
    leadq_unvalidated_leads: Literal["hand_out", "refuse"] = Field(
        default="hand_out",
        description="While the replica does not answer: hand_out leads, marked unvalidated, or refuse to.",
    )
    leadq_validation_timeout_seconds: int = Field(
        default=1,
        ge=1,
        le=30,
        description="Longest the desk waits for the replica before a call, in seconds.",
    )
    leadq_agent_silence_seconds: int = Field(
        default=120, ge=10, description="An agent unheard of for so long, in seconds, is offline."
    )
    leadq_calling_hours: str = Field(
        default="00:00-24:00",
        description="When people are called, such as 08:00-20:00; outside, no lead is handed out.",
    )
    leadq_calling_timezone: str = Field(
        default="UTC", description="Time zone of the calling hours (IANA name)."
    )
    leadq_callback_retry_minutes: int = Field(
        default=15,
        ge=1,
        le=1_440,
        description="An unanswered callback is tried again after so many minutes.",
    )
    leadq_callback_retries_max: int = Field(
        default=1, ge=0, le=10, description="How often an unanswered callback is tried again."
    )
    leadq_event_retention_days: int = Field(
        default=30, ge=1, description="Days for which Dagster's step events are kept."
    )

    @field_validator("replica_database_url", "database_url", "dagster_database_url", mode="before")
    @classmethod
    def _empty_is_unset(cls, url: object) -> object:
        return url or None

    @field_validator("leadq_calling_hours")
    @classmethod
    def _are_hours(cls, text: str) -> str:
        hours_of(text)
        return text

    @field_validator("leadq_replica_timezone", "leadq_calling_timezone")
    @classmethod
    def _is_a_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("is not an IANA time zone such as Europe/London") from error
        return name

    @field_validator("leadq_partitions_start")
    @classmethod
    def _is_a_full_utc_hour(cls, start: datetime) -> datetime:
        try:
            start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        except OverflowError as error:
            raise ValueError("is before the first or after the last year there is") from error
        if start != start.replace(minute=0, second=0, microsecond=0):
            raise ValueError("is not a full UTC hour such as 2025-01-01T00:00Z")
        return start

    @property
    def overlap(self) -> timedelta:
        """How far before a window rows are read again."""
        return timedelta(minutes=self.leadq_overlap_minutes)


def hours_of(text: str) -> tuple[time, time]:
    """The start and end of hours such as 08:00-20:00; 24:00 is midnight, as is 00:00.

    Raises ValueError for anything else.
    """
    try:
        start, end = (time.fromisoformat(part.replace("24:00", "00:00")) for part in text.split("-"))
    except ValueError:
        raise ValueError("write the hours as 08:00-20:00; 22:00-06:00 goes over midnight") from None
    return start, end


def load_settings() -> Settings:
    """The settings from the environment.

    Raises RefusedError with one line for each variable that is wrong, never with its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise RefusedError("\n".join(lines)) from None
