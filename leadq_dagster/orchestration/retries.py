"""leadq's kinds of failure in Dagster's terms: what another try can heal is tried again, nothing else."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dagster import (
    AssetCheckExecutionContext,
    AssetExecutionContext,
    Failure,
    OpExecutionContext,
    RetryRequested,
)

from leadq_dagster.domain.errors import LeadqError, TransientError

MAX_RUN_RETRIES_TAG = "dagster/max_retries"

StepContext = AssetExecutionContext | AssetCheckExecutionContext | OpExecutionContext


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a step is tried again: waits double, 5 to 80 seconds by default.

    What is still failing after that ends the run; catch-up asks for the partition again.
    """

    tries_max: int = 5
    first_wait_seconds: float = 5.0

    def wait_seconds(self, tries_before: int) -> float:
        """The wait before the next try."""
        return float(self.first_wait_seconds * 2**tries_before)


@contextmanager
def mapped_failures(context: StepContext, retries: Retries) -> Iterator[None]:
    """Turn a TransientError of the body into a retry of the step and everything else into a final failure.

    Dagster's run-level retries do not look at the exception, so a final failure also forbids them by a tag
    on the run: without it an instance that retries failed runs would repeat what cannot succeed.
    """
    try:
        yield
    except TransientError as error:
        context.log.warning(f"another try may help: {error}")
        wait = retries.wait_seconds(context.retry_number)
        raise RetryRequested(max_retries=retries.tries_max, seconds_to_wait=wait) from None
    except Exception as error:  # noqa: BLE001  whatever it is ends the run, and nothing of its text is kept
        context.instance.add_run_tags(context.run.run_id, {MAX_RUN_RETRIES_TAG: "0"})
        text = str(error) if isinstance(error, LeadqError) else f"a defect of leadq: {type(error).__name__}"
        # Dagster would keep the whole chain of errors in its event log, and a defect's text may quote a row.
        where = "".join(traceback.format_tb(error.__traceback__))
        raise Failure(text, metadata={"where": where}, allow_retries=False) from None
