"""Progress is a value; by default nobody looks at it."""

from modelcast.publisher.progress import Progress, unwatched


def test_nobody_needs_to_watch() -> None:
    unwatched(Progress("sending", 1, 2))
