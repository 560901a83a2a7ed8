"""Python's cyclic garbage collector while a model is loaded.

A full pass looks at every container in the process and stops all threads meanwhile: over a model of a million lists 150 to
250 ms, several times during its load and once after it. Decides how that is kept away from serving threads: full passes pause
while a model is loaded, young ones go on, so that the garbage of requests is collected as ever; and, only when the application
asks for it, what is alive after the load is frozen. Imports the policy.
"""

import gc
from collections.abc import Generator
from contextlib import contextmanager
from threading import Lock

from modelcast.consumer.policy import Collector

NEVER = 2**31 - 1
"""A threshold of the oldest generation that is not reached: it counts young passes."""

_lock = Lock()
_pauses = 0
_before = (0, 0, 0)


@contextmanager
def sparing(collector: str) -> Generator[None]:
    """Keep full passes of the collector away while a model is loaded, by one of the rules of ``policy.Collector``.

    Several loads at once share one pause. Thresholds that the application changes meanwhile are left as it set them.
    """
    if collector == Collector.LEAVE:
        yield
        return
    _pause()
    try:
        yield
        if collector == Collector.FREEZE:
            gc.freeze()   # before full passes are allowed again; moves lists of objects, whatever their length
    finally:
        _resume()


def _pause() -> None:
    global _pauses, _before  # noqa: PLW0603 - the collector is one for the process, so is its pause
    with _lock:
        if _pauses == 0:
            _before = gc.get_threshold()
            gc.set_threshold(_before[0], _before[1], NEVER)
        _pauses += 1


def _resume() -> None:
    global _pauses  # noqa: PLW0603 - see above
    with _lock:
        _pauses -= 1
        if _pauses == 0 and gc.get_threshold()[2] == NEVER:
            young, middle, _ = gc.get_threshold()
            gc.set_threshold(young, middle, _before[2])
