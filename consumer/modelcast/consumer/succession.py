"""What an instance runs once an order was carried out: the next pointer, and what the rules need to know of it. Pure.

Decides what becomes of the previous release, the floor and the bad ones. Imports the pointer, the rules and trust.
"""

from collections.abc import Iterable
from dataclasses import replace

from modelcast.consumer.pointer import TRIES, KeptBookmark, Pointer
from modelcast.consumer.rules import Standing, floor_after
from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.names import Version

MAX_BAD = 16
"""Bad releases that are remembered; the newest count."""


def pointer_after(
    trusted: TrustedOrder, before: Pointer | None, *, floor_lifted: bool, bookmark: KeptBookmark | None
) -> Pointer:
    """Return the pointer once an order was carried out; its generation is given by the store.

    Args:
        trusted: The order.
        before: The pointer until now, or None.
        floor_lifted: Whether a rollback that it leaves behind took away the floor that was there before.
        bookmark: From where on the history matters then, or None where that is as before.
    """
    if before is None:
        return Pointer(
            0, trusted.release, None, trusted.order.sequence, floor_after(trusted, None).text, trusted.manifest.artifact.identity,
            TRIES, (), bookmark=bookmark, order=trusted.id,
        )
    previous = before.previous if before.release == trusted.release else before.release
    floor = floor_after(trusted, None if floor_lifted else Version(before.floor))
    floor_artifact = trusted.manifest.artifact.identity if floor == trusted.version else before.floor_artifact
    bad = tuple(release for release in before.bad if release != trusted.release)
    return Pointer(
        0, trusted.release, previous, trusted.order.sequence, floor.text, floor_artifact, TRIES, bad,
        bookmark=bookmark or before.bookmark, order=trusted.id,
    )


def pointer_without(pointer: Pointer, release: str) -> Pointer:
    """Return the pointer once a release was reported as bad: the one before takes its place, and nobody goes back to it."""
    bad = (*(other for other in pointer.bad if other != release), release)[-MAX_BAD:]
    if pointer.release == release and pointer.previous is not None:
        return replace(pointer, release=pointer.previous, previous=None, tries_left=TRIES, bad=bad, is_lost=False, is_back=True)
    return replace(pointer, previous=None if pointer.previous == release else pointer.previous, bad=bad)


def standing_of(
    pointer: Pointer | None, active_release: str | None, identities: Iterable[tuple[str, bytes]]
) -> Standing:
    """Return what an instance runs and has run.

    Args:
        pointer: Its pointer, or None.
        active_release: What its slot holds.
        identities: Version and artifact identity of each release that it holds.
    """
    known = dict(identities)
    if pointer is None:
        return Standing(0, None, active_release, tuple(known.items()))
    known[pointer.floor] = pointer.floor_artifact
    return Standing(
        pointer.sequence, Version(pointer.floor), active_release, tuple(known.items()),
        None if pointer.is_lost else pointer.release, pointer.bad,
    )
