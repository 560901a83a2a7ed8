"""The requests: for each instance one thread that asks it for predictions, at a steady pace, on one connection.

Decides what counts as a failed request: no answer, another status than 200, a version that was never published as good, an
answer that is not the one this version gives, a version lower than the one before unless that one was withdrawn, a withdrawn one
that comes back. Plays the load balancer: an instance gets requests from the moment that ``/ready`` says yes until ``hold`` is
called. Imports versions and the standard library.
"""

import itertools
import json
import math
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from threading import Event, Thread
from typing import Any

from modelcast.shared.names import Version

ANSWER_SECONDS = 10.0
READY_LOOK_SECONDS = 0.01
TOLERANCE = 1e-9


@dataclass(slots=True)
class Counts:
    """What was counted at one instance.

    Attributes:
        requests: Requests that were sent.
        failed: Those that failed.
        by_version: Right answers by version.
        longest_ms: The longest request, in milliseconds.
        latest_version: Version of the latest right answer.
        problems: The first few failures, in words.
    """

    requests: int = 0
    failed: int = 0
    by_version: Counter[str] = field(default_factory=Counter[str])
    longest_ms: float = 0.0
    latest_version: str | None = None
    problems: list[str] = field(default_factory=list[str])

    def add(self, problem: str | None, version: str | None, milliseconds: float) -> None:
        """Count one request.

        Args:
            problem: Why it failed, or None.
            version: The version that answered.
            milliseconds: How long it took.
        """
        self.requests += 1
        self.longest_ms = max(self.longest_ms, milliseconds)
        if problem is not None:
            self.failed += 1
            if len(self.problems) < 5:
                self.problems.append(problem)
        elif version is not None:
            self.by_version[version] += 1
            self.latest_version = version


@dataclass(frozen=True, slots=True)
class Exam:
    """The questions and the right answers.

    Attributes:
        questions: Rows of features.
        answers: For each version that may answer, its probabilities for each question; versions are added before they
            are published.
        withdrawn: Versions that an instance may leave for a lower one, and must not come back to.
    """

    questions: list[list[float]]
    answers: dict[str, list[list[float]]] = field(default_factory=dict[str, list[list[float]]])
    withdrawn: set[str] = field(default_factory=set[str])

    def judge(self, number: int, status: int, answer: dict[str, Any], before: str | None) -> str | None:
        """Return why an answer is wrong, or None.

        Args:
            number: Which question was asked.
            status: HTTP status.
            answer: The JSON object that came.
            before: The version that answered last.
        """
        version = answer.get("version")
        if status != 200:
            return f"status {status}: {answer.get('error')}"
        if not isinstance(version, str) or version not in self.answers:
            return f"answered by version {version!r}, which must never serve"
        if version in self.withdrawn and before not in self.withdrawn:
            return f"{version} was withdrawn, and came back"
        if before is not None and before not in self.withdrawn and Version(version).precedes(Version(before)):
            return f"went back from {before} to {version}"
        expected, given = self.answers[version][number], answer.get("probabilities")
        if not isinstance(given, list) or len(given) != len(expected):
            return f"{version} gave no probabilities"
        if not all(math.isclose(one, other, abs_tol=TOLERANCE) for one, other in zip(given, expected, strict=True)):
            return f"{version} answered {given}, not {expected}"
        return None


class Caller:
    """Keeps asking one instance.

    Args:
        exam: What is asked.
        per_second: How often.

    Attributes:
        counts: What was counted, over all starts of the instance.
        first_answer: When the first right answer since ``begin`` came, by the monotonic clock, or None.
    """

    def __init__(self, exam: Exam, per_second: float) -> None:
        self._exam, self._pause_seconds = exam, 1 / per_second
        self._numbers = itertools.cycle(range(len(exam.questions)))
        self.counts = Counts()
        self.first_answer: float | None = None
        self._stop = Event()
        self._thread: Thread | None = None

    @property
    def is_calling(self) -> bool:
        """Whether requests are being sent, or will be as soon as the instance is ready."""
        return self._thread is not None

    def begin(self, port: int) -> None:
        """Send requests as soon as the instance on ``port`` says that it is ready."""
        self.first_answer, self._stop = None, Event()
        self._thread = Thread(target=self._call, args=(port, self._stop), name=f"requests to {port}", daemon=True)
        self._thread.start()

    def hold(self) -> None:
        """Send no more; returns when the request on the way is answered. Does nothing when none are sent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _call(self, port: int, stop: Event) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        try:
            while not _is_ready(connection):
                if stop.wait(READY_LOOK_SECONDS):
                    return
            due = time.monotonic()
            while not stop.wait(max(0.0, due - time.monotonic())):
                self._ask(connection)
                due = max(due + self._pause_seconds, time.monotonic() - self._pause_seconds)   # no burst after a stall
        finally:
            connection.close()

    def _ask(self, connection: HTTPConnection) -> None:
        number = next(self._numbers)
        began, version = time.monotonic(), None
        try:
            status, answer = exchange(connection, "POST", "/predict", {"features": self._exam.questions[number]})
            problem, version = self._exam.judge(number, status, answer, self.counts.latest_version), answer.get("version")
        except (OSError, HTTPException, ValueError) as error:
            problem = f"no answer: {type(error).__name__}: {error}"
            connection.close()   # the next request opens another
        now = time.monotonic()
        self.counts.add(problem, version, (now - began) * 1000)
        if problem is None and self.first_answer is None:
            self.first_answer = now


def _is_ready(connection: HTTPConnection) -> bool:
    try:
        return exchange(connection, "GET", "/ready")[0] == 200
    except (OSError, HTTPException, ValueError):
        connection.close()
        return False


def exchange(connection: HTTPConnection, method: str, path: str, document: object = None) -> tuple[int, dict[str, Any]]:
    """Send a request and read its answer.

    Returns:
        The HTTP status and the JSON object.

    Raises:
        OSError, HTTPException, ValueError: There was no answer, or none that is a JSON object.
    """
    body = None if document is None else json.dumps(document).encode()
    connection.request(method, path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    answer = json.loads(response.read())
    if not isinstance(answer, dict):
        raise ValueError(f"{path} answered no JSON object")   # noqa: TRY004 - the peer's fault, as a malformed text is
    return response.status, answer
