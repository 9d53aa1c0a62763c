"""Before a lead leaves our hands the source is asked: what it says, what it does not, and what it costs."""

from leadq_dagster.desk.terms import NoWork
from leadq_dagster_tests.desk.at_work import AtWork

CONVERSIONS = "SELECT user_id, conversion_type, source FROM conversions ORDER BY id"


def test_who_signed_in_the_meantime_is_closed_with_the_conversion_and_the_next_is_handed_out(
    work: AtWork,
) -> None:
    """P1, P17: the decision is stored by pre-call validation, in the transaction that closes the stay."""
    agent = work.agent()
    work.lead(1)
    work.lead(2)
    work.sign(1)
    assert work.taken(agent).assignment.user_id == 2
    assert work.rows(CONVERSIONS) == [(1, "signature_obtained", "pre_call_validation")]
    assert work.rows("SELECT status, left_reason FROM call_queue WHERE user_id = 1") == [
        ("left", "nothing_outstanding")
    ]


def test_a_queue_of_nobody_who_belongs_is_no_work(work: AtWork) -> None:
    """P17, P24: each is closed with its conversion, and the agent is told that there is nobody."""
    agent = work.agent()
    for user_id in range(1, 8):
        work.lead(user_id)
        work.sign(user_id)
    answer = work.take(agent)
    assert isinstance(answer, NoWork)
    assert answer.standings.converted == 7
    assert len(work.rows(CONVERSIONS)) == 7
