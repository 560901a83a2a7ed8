"""Long work lets others in."""

import threading
import time

from modelcast.consumer.breathing import PIECE_SECONDS, REST_SECONDS, Breather


def test_a_piece_is_shorter_than_what_the_interpreter_grants_and_a_rest_is_shorter_than_a_piece() -> None:
    assert 0 < REST_SECONDS < PIECE_SECONDS < 0.005


def test_another_thread_gets_on_while_work_breathes() -> None:
    began, done = threading.Event(), threading.Event()

    def other() -> None:
        began.set()
        done.set()

    thread = threading.Thread(target=other)
    breather = Breather()
    thread.start()
    while not done.is_set():
        breather.breathe()
    thread.join(10)
    assert began.is_set()


def test_it_rests_only_after_a_piece_of_work() -> None:
    breather = Breather()
    since = breather._since
    breather.breathe()
    assert breather._since == since
    while time.thread_time() - since < PIECE_SECONDS:
        pass
    breather.breathe()
    assert breather._since > since
