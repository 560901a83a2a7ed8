"""Which releases of a model are kept when room is made, and why. Pure.

Decides: the newest releases; what each channel runs by its orders, ran before, was ordered last and went back to last; and what any
instance said last that it runs. Imports the ranking and the wire values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from modelcast.shared.manifest import Manifest
from modelcast.shared.names import Version
from modelcast.shared.order import Kind, Order
from modelcast.shared.ranking import Standing, best_first


@dataclass(frozen=True, slots=True)
class Course:
    """The releases that one channel was ordered to run.

    Attributes:
        ranked: Their ids, that of the best order first, as instances rank them.
        last: The one that was ordered last, or None.
        rollback: The one that the last rollback went back to, or None.
        whole: The best one that was ordered for all instances, not for some waves of them, or None.
    """

    ranked: Sequence[str] = ()
    last: str | None = None
    rollback: str | None = None
    whole: str | None = None


@dataclass(frozen=True, slots=True)
class Promise:
    """An order that lies in a channel, and the manifest that came with it; signatures are the instances' business."""

    order: Order
    manifest: Manifest

    @property
    def release(self) -> str:
        """The id of the release that is promised."""
        return self.order.release.hex()

    @property
    def is_rollback(self) -> bool:
        """Whether the order goes back on purpose."""
        return self.order.kind is Kind.ROLLBACK


def course_of(orders: Sequence[Promise]) -> Course:
    """Return what the orders of a channel amount to."""
    ranked = best_first(
        orders, lambda promise: Standing(promise.order.sequence, promise.is_rollback, Version(promise.manifest.version))
    )
    in_turn = sorted(orders, key=lambda promise: promise.order.sequence)
    rollbacks = [promise.release for promise in in_turn if promise.is_rollback]
    whole = next((promise.release for promise in ranked if promise.order.up_to is None), None)
    return Course(
        [promise.release for promise in ranked], in_turn[-1].release if in_turn else None, rollbacks[-1] if rollbacks else None, whole
    )


def reasons_to_keep(
    releases: Sequence[str], courses: Mapping[str, Course], running: Mapping[str, str], keep: int
) -> dict[str, list[str]]:
    """Return why each release is kept, by its id; the others go.

    Args:
        releases: Ids, oldest first.
        courses: What each channel was ordered to run.
        running: For each instance the id that it said last that it runs.
        keep: How many of the newest are kept.
    """
    found: dict[str, list[str]] = {}
    newest_first = list(dict.fromkeys(reversed(releases)))
    for release in newest_first[:keep]:
        found.setdefault(release, []).append(f"one of the newest {keep}")
    for channel, course in sorted(courses.items()):
        best = list(dict.fromkeys(course.ranked))[:2]
        for which, release in zip(("current", "previous"), best, strict=False):
            found.setdefault(release, []).append(f"{which} in {channel}")
        # by the last order the next publisher sees what the channel was told; without the last rollback, what it left comes back
        # whose turn in a rollout has not come runs what was ordered for all before
        others = (("ordered last", course.last), ("rolled back to", course.rollback), ("ordered for all", course.whole))
        for which, other in others:
            if other is not None and other not in best:
                found.setdefault(other, []).append(f"{which} in {channel}")
    for instance, release in sorted(running.items()):
        found.setdefault(release, []).append(f"run by {instance}")
    return found
