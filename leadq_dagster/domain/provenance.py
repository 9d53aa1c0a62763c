"""Who wrote a row: which actor, in which run."""

from dataclasses import dataclass
from enum import StrEnum


class Source(StrEnum):
    """On what occasion a conversion was noticed."""

    HOURLY_CHECK = "hourly_check"
    PRE_CALL_VALIDATION = "pre_call_validation"
    OUTCOME = "outcome"
    OPERATOR = "operator"
    RECOVERY = "recovery"
    RECONCILIATION = "reconciliation"


@dataclass(frozen=True)
class Provenance:
    """Who writes (an asset, an agent, an operator) and, within Dagster, in which run.

    Both stand on the rows, so that each can be traced to its cause. An asset is named and not its job:
    Dagster runs one asset in several jobs.
    """

    actor: str
    run_id: str | None
    source: Source = Source.HOURLY_CHECK
