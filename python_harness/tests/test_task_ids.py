"""Task ids of every kind of int, with Parsl's own executor: each future ends with its result or
with a reason."""

from __future__ import annotations

import pytest

from harness.htex import executors, jobs
from harness.htex.interchange import stock_under_test

RESULT_S = 120


class Counter:
    """Replaces the executor's counter: the next tasks get these ids."""

    def __init__(self, *ids: int) -> None:
        self.ids = list(ids)

    def __add__(self, _one: int) -> int:
        return self.ids.pop(0)


def submitted_under(htex, task_id: int):
    htex._task_counter = Counter(task_id)
    return htex.submit(jobs.add, {}, 40, 2)


@pytest.mark.parametrize(
    "task_id", [-2, -1, -(2**31) - 1, -(2**63), 0, True, False, 2**63 - 1], ids=repr
)
def test_an_int_of_up_to_64_bits_is_served(tmp_path, task_id):
    with executors.running(tmp_path / "run") as htex:
        assert submitted_under(htex, task_id).result(RESULT_S) == 42
        assert submitted_under(htex, 7).result(RESULT_S) == 42
        assert htex.outstanding() == 0


@pytest.mark.ours_only("stock serves them")
def test_an_int_beyond_fails_with_the_reason_and_takes_nothing_with_it(tmp_path):
    with executors.running(tmp_path / "run", blocks=0) as htex:
        for task_id in [2**63, -(2**63) - 1, 2**64, 10**400]:
            error = submitted_under(htex, task_id).exception(RESULT_S)
            assert type(error) is OverflowError
            assert "64 bits" in str(error)
        assert htex._result_queue_thread.is_alive() and not htex.bad_state_is_set
        waiting = submitted_under(htex, 8)
        executors.add_blocks(htex, 1)
        assert waiting.result(RESULT_S) == 42
        assert htex.outstanding() == 0


def test_a_failure_under_a_negative_id_is_that_tasks_own(tmp_path):
    """The id −1 is not tested: an exception with that id fails all tasks, with either
    interchange."""
    with executors.running(tmp_path / "run") as htex:
        htex._task_counter = Counter(-7)
        failed = htex.submit(jobs.reject, {}, "why")
        assert isinstance(failed.exception(RESULT_S), jobs.Rejected)
        assert submitted_under(htex, True).result(RESULT_S) == 42
        assert stock_under_test() or not htex.bad_state_is_set
