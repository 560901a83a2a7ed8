"""What serves from the disk of an instance: the start, the way back, and what is known of what it runs.

Decides what is loaded when the newest release cannot be, and what is remembered of it. Verifies every byte before anything is
unpickled. Used by the worker. Imports the store, the pointer, succession and trust.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from modelcast.consumer.active import ActiveModel, Slot
from modelcast.consumer.pickles import BUFFERS
from modelcast.consumer.pointer import TRIES, Pointer
from modelcast.consumer.rules import Standing
from modelcast.consumer.store import Damage, Store, damage_in
from modelcast.consumer.succession import pointer_without, standing_of
from modelcast.consumer.trust import claimed_release, open_manifest
from modelcast.shared.errors import HostFault, SenderFault, StorageFault
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.manifest import Artifact, Manifest
from modelcast.shared.signing import KeyRing

Facts = tuple[int, int, int, int, int]
"""Device, inode, size, and when content and inode were changed: the kernel sets the last one whatever anybody does to a file."""


def facts_of(path: Path) -> Facts | None:
    """Return what changes whenever a file does, or None when there is none."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


Load = Callable[[Manifest, Path], Any]
"""Loads the model of a release whose bytes were verified."""


class PointerUnwritten(StorageFault):
    """The pointer could not be written: what was decided holds in memory only."""


@contextmanager
def _put_off() -> Generator[None]:
    try:
        yield
    except HostFault as error:
        raise PointerUnwritten(str(error), hint=error.hint, facts=error.facts) from error


class Keeper:
    """Serves what the store has.

    Args:
        store: Where releases are kept.
        slot: The active slot.
        ring: Trusted keys.
        load: Loads a model.
    """

    def __init__(self, store: Store, slot: Slot, ring: KeyRing, load: Load) -> None:
        self._store, self._slot, self._ring, self._load_model = store, slot, ring, load
        self._read: dict[str, Facts] = {}

    def _damage(self, release: str, artifact: Artifact) -> Damage | None:
        """Compare a release of the store with its manifest.

        Buffers that this process read before, and nobody touched since, are compared by the facts of their inode; what is unpickled
        is read each time.
        """
        folder = self._store.folder(release)
        facts = facts_of(folder / BUFFERS)
        is_known = facts is not None and self._read.get(release) == facts
        damage = damage_in(folder, artifact, known={BUFFERS} if is_known else ())
        self._note_read(release, damage)
        return damage

    def _note_read(self, release: str, damage: Damage | None = None) -> None:
        """Remember that this process knows a release's buffers: it read them, or wrote what it had compared."""
        facts = facts_of(self._store.folder(release) / BUFFERS)
        if damage is None and facts is not None:
            self._read[release] = facts
        else:
            self._read.pop(release, None)
        for other in set(self._read) - set(self._store.releases()):
            del self._read[other]

    def _manifest(self, release: str) -> Manifest:
        return open_manifest(self._store.envelope(release), self._ring)[0]

    def take_out(self, release: str) -> Standing:
        """Take a release out of service that the application reported: the one before takes its place, also after a restart.

        Raises:
            PointerUnwritten: The pointer cannot be written; it may be later.
            HostFault: There is no release before it, or that one cannot be loaded; what is in service stays.
        """
        active = self._slot.active
        with _put_off():
            pointer = self._store.pointer()
        if pointer is None or (pointer.release == release and pointer.previous is None):
            raise StorageFault("There is no release before it to go back to.", hint="Publish, or: modelcast rollback --to VERSION")
        left = pointer_without(pointer, release)
        with _put_off():
            self._store.point(left)
        if active is not None and active.release == release and left.release is not None:
            problem = self._load_from_disk(left.release)
            if problem is not None:
                raise StorageFault(f"The release before cannot be gone back to: {problem}.")
        return self.standing()

    def leave(self, release: str, sequence: int) -> None:
        """Have the pointer name the release before, if it names this one after that order; nothing is loaded.

        Raises:
            HostFault: The pointer cannot be written.
        """
        pointer = self._store.pointer()
        if pointer is not None and (pointer.release, pointer.sequence) == (release, sequence) and pointer.previous is not None:
            self._store.point(pointer_without(pointer, release))

    def as_ordered(self, release: str, active: ActiveModel | None) -> ActiveModel:
        """Return what is or was in service with the last order, which a process that follows is not told.

        Args:
            release: Its id.
            active: What is in service, or None when it is not here any more: then all but the model is returned.

        Raises:
            SenderFault, HostFault: Its manifest cannot be read.
        """
        pointer = self._store.pointer()
        if active is None:
            manifest = self._manifest(release)
            active = ActiveModel(None, manifest.version, release, manifest, 0)
        elif active.order is not None or pointer is None or pointer.release != release:
            return active
        if pointer is None or (pointer.is_back and pointer.release == release):
            return active
        return replace(active, sequence=pointer.sequence, order=pointer.order)

    def standing(self) -> Standing:
        """Return what this instance runs and has run."""
        pointer, active = self._store.pointer(), self._slot.active
        identities: list[tuple[str, bytes]] = []
        for release in self._store.releases():
            with suppress(SenderFault, HostFault):   # its key is no longer trusted, or it cannot be read: it counts as unknown
                manifest = self._manifest(release)
                identities.append((manifest.version, manifest.artifact.identity))
        return standing_of(pointer, active.release if active else None, identities)

    def restore(self) -> str | None:
        """Load the last good release from disk into the slot.

        Returns:
            What was wrong with the newest one, in a sentence, or None when all was well.
        """
        pointer = self._store.pointer()
        release = None if pointer is None else pointer.release
        if pointer is None or release is None:
            return None
        if pointer.tries_left <= 0:
            bad = (*pointer.bad, release)[-16:]
            problem = f"release {release[:12]} ended the process {TRIES} times at its start"
            pointer = self._point_if_possible(_without_active(pointer, bad=bad))
            return self._fall_back(pointer, problem)
        reach(Point.BEFORE_RESTORE)
        self._point_if_possible(replace(pointer, tries_left=pointer.tries_left - 1))
        reach(Point.RESTORE_COUNTED)
        failure = self._load_from_disk(release, *pointer.put_there_by)
        reach(Point.RESTORE_LOADED)
        if failure is not None and not self._store.has(release):   # it was damaged and is gone: the order may bring it again
            pointer = self._point_if_possible(_without_active(pointer, bad=pointer.bad))
            return self._fall_back(pointer, failure)
        self._point_if_possible(replace(pointer, tries_left=TRIES))   # the process lives, whatever the release did
        reach(Point.AFTER_RESTORE)
        if failure is not None and pointer.previous is not None:
            self._load_from_disk(pointer.previous)
        return failure

    def _point_if_possible(self, pointer: Pointer) -> Pointer:
        """Write the pointer; a disk that cannot be written must not keep a good model on it from being served."""
        try:
            return self._store.point(pointer)
        except HostFault:
            return pointer

    def _fall_back(self, pointer: Pointer, problem: str) -> str:
        also = None if pointer.release is None else self._load_from_disk(pointer.release)
        return problem if also is None else f"{problem}; and {also}"

    def _load_from_disk(self, release: str, sequence: int = 0, order: str | None = None) -> str | None:
        """Verify and load a stored release into the slot, in service by this order; returns what is wrong with it."""
        if not self._store.has(release):
            return f"release {release[:12]} is not in the store"
        try:
            envelope = self._store.envelope(release)
            if (claimed := claimed_release(envelope)) != release:
                self._store.remove(release)
                return f"release {release[:12]} is damaged: its manifest is {'none' if claimed is None else 'that of ' + claimed[:12]}"
            manifest, _ = open_manifest(envelope, self._ring)
            damage = self._damage(release, manifest.artifact)
            if damage is not None:
                self._store.fs.remove_tree(self._store.folder(release).parent)
                return f"release {release[:12]} is damaged: {damage.text}"
            model = self._load_model(manifest, self._store.folder(release))
            self._slot.swap(model, manifest, release, sequence=sequence, order=order)
        except (SenderFault, HostFault) as error:
            return f"release {release[:12]} cannot be loaded: {error}"
        return None


def _without_active(pointer: Pointer, *, bad: tuple[str, ...]) -> Pointer:
    """Go back to the previous release; the order of a lost one may be carried out again, that of a bad one may not."""
    return Pointer(
        0, pointer.previous, None, pointer.sequence, pointer.floor, pointer.floor_artifact, TRIES, bad,
        is_lost=pointer.release not in bad, bookmark=pointer.bookmark, is_back=True,
    )
