"""Named places beside the steps that last, at which a test lets a process end. Nothing happens there unless code arms them.

Decides the names. No setting, file or variable of the environment can arm one: only a call within the process. Costs one look at a
variable each time.
"""

from collections.abc import Callable
from enum import StrEnum


class Point(StrEnum):
    """Where a process can be made to end, in the order in which a release passes by."""

    BEFORE_BEGIN = "publisher, before it records that it sends a version's chunks"
    AFTER_BEGIN = "publisher, after it recorded that"
    CHUNK_SENT = "publisher, after a chunk was handed over"
    BEFORE_FINISH = "publisher, after the last chunk was handed over"
    AFTER_FINISH = "publisher, after all chunks and the end marker were confirmed"
    AFTER_RELEASED = "publisher, after the release was recorded"
    BEFORE_ORDER = "publisher, after it recorded which order it will send"
    AFTER_ORDER = "publisher, after the order was confirmed"
    AFTER_ORDERED = "publisher, after the order was recorded"

    AFTER_RESERVE = "instance, after room was reserved"
    CHUNK_WRITTEN = "instance, after a chunk was written in its place"
    BEFORE_SYNC = "instance, after the last chunk, before the files are synced"
    AFTER_SYNC = "instance, after the files and folders were synced"
    AFTER_MANIFEST = "instance, after the manifest was put beside the files"
    AFTER_COMMIT = "instance, after the release got its name"
    BEFORE_TRY = "instance, before it notes that a model is about to be loaded"
    AFTER_TRY = "instance, after it noted that"
    BEFORE_TRY_ENDS = "instance, after the model proved itself, before that is noted"
    AFTER_TRY_ENDS = "instance, after that was noted"
    BEFORE_POINTER = "instance, before anything of the pointer is written"
    AFTER_OLD_POINTER = "instance, after the pointer's last record was set aside"
    AFTER_POINTER = "instance, after the pointer was written: the commit point"
    AFTER_SWAP = "instance, after the model was put into service"
    AFTER_COLLECT = "instance, after older releases were removed"
    AFTER_THROWN_AWAY = "instance, after a refused release was removed"
    BEFORE_REPORT = "instance, before a report is kept on disk"
    AFTER_REPORT = "instance, after a report was kept on disk"
    AFTER_REMEMBERED = "instance, after a rejection was remembered"
    BEFORE_SETTLED = "instance, before an order is acknowledged or refused at the broker"
    AFTER_SETTLED = "instance, after that"
    REPORT_CONFIRMED = "instance, after a report was confirmed"
    REPORT_FORGOTTEN = "instance, after a confirmed report was removed from disk"

    BEFORE_RESTORE = "instance at its start, before it counts the try"
    RESTORE_COUNTED = "instance at its start, after it counted the try"
    RESTORE_LOADED = "instance at its start, after the model was put into service"
    AFTER_RESTORE = "instance at its start, after the count was set back"


_armed: Callable[[Point], None] | None = None


def reach(point: Point) -> None:
    """Note that ``point`` is passed; does nothing unless ``arm`` was called."""
    if _armed is not None:
        _armed(point)


def arm(action: Callable[[Point], None] | None) -> None:
    """Call ``action`` at every point from now on, in whichever thread passes it; None disarms."""
    global _armed  # noqa: PLW0603 - one variable is what it costs nothing for
    _armed = action
