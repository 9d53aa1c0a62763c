"""What the demo starts is gone when the demo is, also what a program of it left behind."""

import select
import signal
import subprocess

from leadq_dagster.demo.ending import end

PATIENCE_SECONDS = 30
# A child that minds no Ctrl-C, as a run that is just beginning; then a parent that ends by it, or does not.
LEAVES_A_CHILD = "trap '' INT; sleep 600 & echo started; trap - INT; exec sleep 600"
MINDS_NOTHING = "trap '' INT; sleep 600 & echo started; exec sleep 600"


def is_all_gone(script: str, seconds: float) -> bool:
    """Whether nobody is left who holds the program's output, once it has been ended."""
    process = subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    with process.stdout as output:
        assert output.readline() == b"started\n"
        end(process, signal.SIGINT, seconds)
        closed, _, _ = select.select([output], [], [], PATIENCE_SECONDS)
        return bool(closed)


def test_a_program_is_ended_with_what_it_left_behind() -> None:
    assert is_all_gone(LEAVES_A_CHILD, PATIENCE_SECONDS)


def test_a_program_that_does_not_end_by_itself_is_ended() -> None:
    assert is_all_gone(MINDS_NOTHING, 0.1)
