"""The worker process: it answers, reports what it cannot import, and can be stopped."""

import time
from typing import Any

import pytest

from mutscan.errors import MissingDependencyError
from mutscan.worker import PipedProcess, serve_pipe


def _count_to(message: Any, answer: Any) -> None:
    if message == "sleep":
        time.sleep(60.0)
    print("what a library prints does not mix with the answers")
    for number in range(message):
        answer(number)


def serve() -> None:
    serve_pipe(_count_to, needs="json")


def serve_without() -> None:
    serve_pipe(_count_to, needs="no_such_module")


@pytest.fixture
def worker():
    process = PipedProcess("tests.test_worker:serve")
    process.start()
    yield process
    process.stop()


def test_a_message_may_have_several_answers(worker):
    for count in (2, 0, 3):
        worker.send(count)
        assert [worker.receive(30.0) for _ in range(count)] == list(range(count))


def test_it_is_killed_when_an_answer_is_late_and_starts_again(worker):
    first = worker.start()
    worker.send("sleep")
    with pytest.raises(TimeoutError):
        worker.receive(0.1)
    assert worker.exit_status() != 0
    assert worker.start() is not first
    worker.send(1)
    assert worker.receive(30.0) == 0


def test_a_dead_process_is_the_end_of_its_answers(worker):
    worker.kill()
    with pytest.raises(EOFError):
        worker.receive(30.0)


def test_what_it_needs_and_cannot_import_is_named():
    with pytest.raises(MissingDependencyError, match="no_such_module cannot be imported: No module named"):
        PipedProcess("tests.test_worker:serve_without").start()
