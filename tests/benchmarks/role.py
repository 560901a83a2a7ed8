"""One process of a round, publisher or instance: ``python -m tests.benchmarks.role publish|receive TASK``.

Its standard output carries its marks, one JSON line each; its standard input what it is told. Imports the contenders.
"""

import sys
from collections.abc import Iterator

from tests.benchmarks.contenders import BY_NAME
from tests.benchmarks.measuring import reset_peak
from tests.benchmarks.task import Mark, Task


def main() -> None:
    """Play the role."""
    role, text = sys.argv[1:3]
    task = Task.from_json(text)
    channel, sys.stdout = sys.stdout, sys.stderr   # whatever a library prints must not look like a mark
    contender = BY_NAME[task.contender]
    marks = _with_go(contender.publish(task)) if role == "publish" else contender.receive(task, lambda: _listen("announced"))
    for mark in marks:
        print(mark.to_json(), file=channel, flush=True)
        if mark.name == "ready":
            reset_peak()
    _listen("end")


def _with_go(marks: Iterator[Mark]) -> Iterator[Mark]:
    """Let a publisher begin when it is told, and note when that was."""
    yield next(marks)
    _listen("go")
    yield Mark.now("called")
    yield from marks


def _listen(word: str) -> None:
    """Return when the word was said, or the harness is gone."""
    for line in iter(sys.stdin.readline, ""):
        if line.strip() == word:
            return


if __name__ == "__main__":
    main()
