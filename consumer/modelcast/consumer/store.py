"""An instance's directory: releases, the pointer, the notice, the locks. Crash-safe at every step.

Decides the layout below ``<store>/<model>/<channel>/`` and the order of durable steps: files, then their folder, then the
name, then the pointer; what nothing points to is removed last. Verifies content whenever it hands a release out. Knows no
model and no broker. Imports fs, locks, pointer, notice and the manifest.
"""

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path

from modelcast.consumer.notice import MAX_NOTICE_BYTES, Notice
from modelcast.consumer.pointer import MAX_POINTER_BYTES, Pointer
from modelcast.shared.digest import DIGEST_BYTES, digest, same
from modelcast.shared.errors import HostFault, StorageFault, StoreInUse
from modelcast.shared.failpoints import Point, reach
from modelcast.shared.fs import TEMPORARY_PREFIX, Fs, is_ours_alone, storage_fault
from modelcast.shared.limits import DEFAULT_LIMITS
from modelcast.shared.locks import HostLock
from modelcast.shared.manifest import Artifact, FileEntry

POINTER, OLD_POINTER, NOTICE = "current", "current.old", "notice"
MANIFEST, FILES = "manifest", "files"


class Store:
    """The store of one model and channel.

    Args:
        root: The folder; created when it does not exist.
        fs: Operations on the disk.

    Attributes:
        followers: Held (shared) by each follower that is not ready for the candidate; the receiver waits until nobody holds it.
    """

    def __init__(self, root: Path, fs: Fs) -> None:
        self.root, self.fs = root, fs
        self._lock, self.followers = HostLock(root / "lock"), HostLock(root / "followers")

    def open(self) -> None:
        """Create the layout, take the lock, clear away what a crash left unfinished.

        Raises:
            StoreInUse: Another process receives for it.
            StorageFault: It cannot be written.
        """
        for folder in (self.root, self.root / "releases", self.root / "incoming", self.root / "journal"):
            self.fs.make_folder(folder)
        self.fs.refuse_if_others_may_write(self.root)
        if not self._lock.take():
            raise StoreInUse(
                f"Another process uses the store {self.root}.",
                hint="Give each instance a store of its own, or stop the other one.", facts={"store": str(self.root)},
            )
        try:
            incoming = self.root / "incoming"   # a release is put together where a crash left it, and takes its folder's name
            folders = (self.root, self.root / "journal", self.root / "complaints")
            for folder in (*folders, *(incoming / name for name in self.fs.names(incoming))):
                for name in self.fs.names(folder):
                    if name.startswith(TEMPORARY_PREFIX):
                        self.fs.remove(folder / name)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the locks; without a notice the followers know at once that the receiver's place is free."""
        if self._lock.is_held:
            with suppress(HostFault):
                self.fs.remove(self.root / NOTICE)
        self.followers.release()
        self._lock.release()

    def notice(self) -> Notice | None:
        """Return what the receiver tells, or None when there is none."""
        path = self.root / NOTICE
        try:
            return Notice.from_bytes(self.fs.read_whole(path, MAX_NOTICE_BYTES)) if path.is_file() else None
        except StorageFault:
            return None   # its receiver left just now

    def post(self, notice: Notice) -> None:
        """Tell the followers something; only the receiver does."""
        self.fs.post(self.root / NOTICE, notice.to_bytes())

    def folder(self, release: str) -> Path:
        """Return the folder of a release's files."""
        return self.root / "releases" / release / FILES

    def has(self, release: str) -> bool:
        """Whether a release is here, complete."""
        return (self.root / "releases" / release / MANIFEST).is_file()

    def envelope(self, release: str) -> bytes:
        """Return the signed bytes of a release's manifest; raises StorageFault when it is not here."""
        return self.fs.read_whole(self.root / "releases" / release / MANIFEST, DEFAULT_LIMITS.order_bytes)

    def releases(self) -> list[str]:
        """Return the ids of all complete releases."""
        return [name for name in self.fs.names(self.root / "releases") if self.has(name)]

    def incoming(self, release: str) -> Path:
        """Return the folder in which a release is assembled."""
        return self.root / "incoming" / release

    def remove(self, release: str) -> None:
        """Remove a release; its manifest first, so that what is left by a crash is no release."""
        folder = self.root / "releases" / release
        self.fs.remove(folder / MANIFEST)
        self.fs.remove_tree(folder)

    def commit(self, release: str, envelope: bytes) -> None:
        """Give an assembled and synced release its name; from here on it is never written again."""
        folder, named = self.incoming(release), self.root / "releases" / release
        self.fs.write_whole(folder / MANIFEST, envelope)
        reach(Point.AFTER_MANIFEST)
        self.fs.remove_tree(named)   # what a crash left of it while it was removed: without a manifest it is no release
        self.fs.rename(folder, named)
        self.fs.sync_folder(self.root / "incoming")
        reach(Point.AFTER_COMMIT)

    def sign_again(self, release: str, envelope: bytes) -> None:
        """Replace the signed bytes of a release's manifest when they are others: they rotted, or another key has signed it since."""
        with suppress(HostFault):   # what cannot be read is replaced
            if self.envelope(release) == envelope:
                return
        self.fs.write_whole(self.root / "releases" / release / MANIFEST, envelope)

    def clear_incoming(self, keep: set[str]) -> None:
        """Remove what else is being put together: given up, it must not take the room of what is to come."""
        for name in self.fs.names(self.root / "incoming"):
            if name not in keep:
                self.fs.remove_tree(self.root / "incoming" / name)

    def pointer(self) -> Pointer | None:
        """Return the newest pointer that is whole, or None when there is none."""
        found = [self._read_pointer(name) for name in (POINTER, OLD_POINTER)]
        return max((pointer for pointer in found if pointer is not None), key=lambda pointer: pointer.generation, default=None)

    def _read_pointer(self, name: str) -> Pointer | None:
        path = self.root / name
        if not path.is_file():
            return None
        try:
            return Pointer.from_bytes(self.fs.read_whole(path, MAX_POINTER_BYTES))
        except StorageFault as fault:
            if "errno" in fault.facts:
                raise   # it may well be whole: going on with the one before would lower the floor
            return None   # longer than any record

    def point(self, pointer: Pointer) -> Pointer:
        """Write the pointer with the next generation: the commit point. The one before is kept beside it.

        Returns:
            The pointer as it was written.
        """
        before = self.pointer()
        written = replace(pointer, generation=1 if before is None else before.generation + 1)
        if before is not None:
            self.fs.write_whole(self.root / OLD_POINTER, before.to_bytes())
            reach(Point.AFTER_OLD_POINTER)
        self.fs.write_whole(self.root / POINTER, written.to_bytes())
        return written

    def collect(self, keep: set[str]) -> None:
        """Remove releases and assemblies that are not in ``keep``; call it only after the pointer is durable."""
        for parent in ("releases", "incoming"):
            for name in self.fs.names(self.root / parent):
                if name not in keep or (parent == "incoming" and self.has(name)):
                    self.fs.remove_tree(self.root / parent / name)


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a release on disk, in a sentence."""

    text: str


def damage_in(folder: Path, artifact: Artifact, *, known: Collection[str] = ()) -> Damage | None:
    """Read every file back and compare it with the manifest: size, and the BLAKE3 of each chunk, which cover every byte.

    Args:
        folder: Where the files are.
        artifact: What they should be.
        known: Files whose content is known to be right; only their sizes and owners are looked at.

    Returns:
        What differs, or None.

    Raises:
        StorageFault: A file cannot be read.
    """
    return _first_damage(
        folder, artifact, lambda file, entry, buffer: None if entry.path in known else _compare_content(file, entry, buffer)
    )


def misfit_in(folder: Path, artifact: Artifact) -> Damage | None:
    """Compare the files with the manifest without reading them: there, ours alone, and as long as they should be.

    Enough for what this process has just written from bytes whose digests were right.
    """
    return _first_damage(folder, artifact, lambda _file, _entry, _buffer: None)


Comparison = Callable[[FileIO, FileEntry, memoryview], str | None]


def _first_damage(folder: Path, artifact: Artifact, compare: Comparison) -> Damage | None:
    buffer = memoryview(bytearray(max((size for entry in artifact.files for size in entry.chunk_sizes), default=0)))
    for entry in artifact.files:
        path = folder / entry.path
        try:
            with open(path, "rb", buffering=0, opener=_open_ours) as file:
                text = _misfit(os.fstat(file.fileno()), entry.size) or compare(file, entry, buffer)
        except FileNotFoundError:
            text = "is missing"
        except OSError as error:
            raise storage_fault("read", path, error) from error
        if text is not None:
            return Damage(f"{entry.path} {text}")
    return None


def _open_ours(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)


def _misfit(facts: os.stat_result, size: int) -> str | None:
    if not is_ours_alone(facts):
        return "is no file that this user alone may write"
    return None if facts.st_size == size else f"has {facts.st_size} bytes instead of {size}"


def _compare_content(file: FileIO, entry: FileEntry, buffer: memoryview) -> str | None:
    offset = 0
    for number, size in enumerate(entry.chunk_sizes):
        room, filled = buffer[:size], 0   # one buffer for all: a new one each time costs a page fault for each of its pages
        while filled < size and (got := file.readinto(room[filled:])):
            filled += got
        expected = entry.chunk_digests[number * DIGEST_BYTES : (number + 1) * DIGEST_BYTES]
        if filled < size or not same(digest(room), expected):
            return f"differs in the {size} bytes at {offset}"
        offset += size
    return None
