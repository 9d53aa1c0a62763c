"""Worlds of promised calls, a few days each in every run; weeks of more seeds are `callback_world`'s own."""

import pytest

from leadq_dagster_tests.servers.running import Servers
from leadq_dagster_tests.simulation.callback_world import live


@pytest.mark.parametrize("seed", [1, 2])
def test_every_promised_call_ends_for_a_true_reason_or_is_in_front(servers: Servers, seed: int) -> None:
    """P22, P26, P27, P28, P29: agents vanish, daemons fail and meet, clocks step, runs are killed midway."""
    counted = live(servers, seed, days=1.5)
    assert counted["callbacks served"] > 50, counted
    assert counted["preferred got theirs"] > 20, counted
    assert counted["killed"] + counted["two daemons at once"] > 5, counted
    assert counted["vanished with a lead in hand"] > 3, counted
    assert counted["snoozed"] > 5, counted
