"""What requests were answered: the first answer stands, for its agent, until it is forgotten."""

from datetime import timedelta

from psycopg import Connection
from psycopg.rows import TupleRow

from leadq_dagster.store import answers
from leadq_dagster.store.answers import Answer
from leadq_dagster.store.connection import Store
from leadq_dagster_tests.store.converted import LATER, add_agents
from leadq_dagster_tests.store.rows import TEN, rows


def test_the_first_answer_to_a_request_stands(store: Store, plain: Connection[TupleRow]) -> None:
    """P20: kept again it is not another; the same id of another agent is another request."""
    add_agents(plain)
    first = Answer(1, "ask", "take", {"reason": "none", "counts": [1, None, "ü"]})
    others = Answer(2, "ask", "release of assignment 9", {})
    with store.transaction() as cursor:
        answers.keep(cursor, [first, others], TEN)
        answers.keep(cursor, [Answer(1, "ask", "take", {"reason": "another"})], LATER)
        asked = [(1, "ask"), (2, "ask"), (3, "ask"), (1, "tell")]
        assert answers.earlier(cursor, asked)() == {(1, "ask"): first, (2, "ask"): others}
        assert answers.earlier(cursor, [])() == {}


def test_old_answers_are_forgotten_the_oldest_first_and_no_more_than_asked(
    store: Store, plain: Connection[TupleRow]
) -> None:
    """P20: by their age, to the instant."""
    add_agents(plain)
    with store.transaction() as cursor:
        for hours in range(5):
            kept = [Answer(1, f"ask-{hours}", "take", {})]
            answers.keep(cursor, kept, TEN + timedelta(hours=hours))
        older_than = TEN + timedelta(hours=4)
        assert answers.forget(cursor, older_than, 3) == 3
        assert answers.forget(cursor, older_than, 3) == 1
        assert answers.forget(cursor, older_than, 3) == 0
    assert rows(plain, "SELECT request_id FROM desk_answers") == [("ask-4",)]
