"""Trying again what another try can heal."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from leadq_dagster.domain.errors import TransientError

Answer = TypeVar("Answer")
RETRIED_FOR_SECONDS = 5.0


def retried(work: Callable[[], Answer]) -> Answer:
    """What `work` answers: tried again after a cut connection or a deadlock. Each try is all or nothing."""
    tries = Retrying(
        retry=retry_if_exception_type(TransientError),
        stop=stop_after_delay(RETRIED_FOR_SECONDS),
        wait=wait_random_exponential(multiplier=0.02, max=0.5),
        reraise=True,
    )
    return tries(work)
