"""Waiting until something holds, with an end. Imports the errors."""

import time
from collections.abc import Callable

from modelcast.shared.errors import OutOfTime

LOOK_SECONDS = 0.02


def until(holds: Callable[[], bool], *, seconds: float, what: str) -> float:
    """Wait until ``holds`` returns True.

    Args:
        holds: What is waited for; asked fifty times a second.
        seconds: Longest wait.
        what: The thing in words, for the error.

    Returns:
        How long it took, in seconds.

    Raises:
        OutOfTime: It did not hold in time.
    """
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise OutOfTime(
                f"The demo waited {seconds:g} s for this: {what}.",
                hint="Run it again with --keep and read the logs of the instances in the folder that it names.",
            )
        time.sleep(LOOK_SECONDS)
    return time.monotonic() - began
