"""Requests are counted as they are: every failure counts, and nothing else does."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from modelcast.publisher.demo.patience import until
from modelcast.publisher.demo.traffic import Caller, Counts, Exam

ANSWERS = {"1.0.0": [[0.25, 0.75]], "1.1.0": [[0.5, 0.5]]}
RIGHT = {"version": "1.0.0", "probabilities": [0.25, 0.75]}


class Stub:
    """A server whose answers a test sets."""

    def __init__(self) -> None:
        self.ready, self.status, self.body, self.asked = True, 200, json.dumps(RIGHT), 0
        stub = self

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.reply(200 if stub.ready else 503, "{}")

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                stub.asked += 1
                self.reply(stub.status, stub.body)

            def reply(self, status: int, text: str) -> None:
                if text == "hang up":
                    self.close_connection = True
                    return
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()


@pytest.fixture
def stub() -> Iterator[Stub]:
    stub = Stub()
    yield stub
    stub.server.shutdown()
    stub.thread.join()
    stub.server.server_close()


@pytest.fixture
def caller() -> Iterator[Caller]:
    caller = Caller(Exam([[1.0, 2.0]], ANSWERS), 200)
    yield caller
    caller.hold()


def after_some(caller: Caller, stub: Stub) -> Counts:
    caller.begin(stub.server.server_port)
    until(lambda: caller.counts.requests >= 3, seconds=20, what="three requests")
    caller.hold()
    return caller.counts


def test_right_answers_are_counted_by_version(caller: Caller, stub: Stub) -> None:
    counts = after_some(caller, stub)
    assert (counts.failed, counts.latest_version, counts.problems) == (0, "1.0.0", [])
    assert counts.by_version == {"1.0.0": counts.requests}
    assert counts.requests == stub.asked
    assert counts.longest_ms > 0
    assert caller.first_answer is not None


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (503, '{"error": "not ready"}', "status 503: not ready"),
        (200, '{"version": "9.9.9"}', "'9.9.9', which must never serve"),
        (200, '{"version": "1.0.0", "probabilities": [0.3, 0.7]}', "1.0.0 answered"),
        (200, '{"version": "1.0.0", "probabilities": [1.0]}', "1.0.0 gave no probabilities"),
        (200, "[]", "no answer: ValueError"),
        (200, "what?", "no answer: JSONDecodeError"),
        (200, "hang up", "no answer: RemoteDisconnected"),
    ],
)
def test_every_other_answer_is_a_failure_with_its_reason(caller: Caller, stub: Stub, status: int, body: str, problem: str) -> None:
    stub.status, stub.body = status, body
    counts = after_some(caller, stub)
    assert counts.failed == counts.requests
    assert not counts.by_version
    assert caller.first_answer is None
    assert problem in counts.problems[0]
    assert len(counts.problems) <= 5


def test_a_version_that_goes_back_is_a_failure() -> None:
    exam = Exam([[1.0, 2.0]], ANSWERS)
    assert exam.judge(0, 200, RIGHT, "1.0.0") is None
    assert exam.judge(0, 200, RIGHT, "1.1.0") == "went back from 1.1.0 to 1.0.0"


def test_a_withdrawn_version_may_be_left_and_must_not_come_back() -> None:
    exam = Exam([[1.0, 2.0]], ANSWERS, {"1.1.0"})
    newer = {"version": "1.1.0", "probabilities": [0.5, 0.5]}
    assert exam.judge(0, 200, newer, "1.1.0") is None   # it has not gone back yet
    assert exam.judge(0, 200, RIGHT, "1.1.0") is None
    assert exam.judge(0, 200, newer, "1.0.0") == "1.1.0 was withdrawn, and came back"
    assert exam.judge(0, 200, newer, None) == "1.1.0 was withdrawn, and came back"
    exam.withdrawn.clear()
    assert exam.judge(0, 200, newer, "1.0.0") is None


def test_nothing_is_sent_before_the_instance_is_ready(caller: Caller, stub: Stub) -> None:
    stub.ready = False
    caller.begin(stub.server.server_port)
    assert caller.is_calling
    caller.hold()
    assert (stub.asked, caller.counts.requests, caller.is_calling) == (0, 0, False)


def test_counts_go_on_after_a_restart(caller: Caller, stub: Stub) -> None:
    before = after_some(caller, stub).requests
    caller.begin(stub.server.server_port)
    until(lambda: caller.counts.requests > before, seconds=20, what="another request")
    caller.hold()
    assert caller.counts.requests == stub.asked
