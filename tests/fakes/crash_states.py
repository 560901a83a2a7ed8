"""Every disk that a power cut may leave: what was not synced is there, is not there, is there in another order, or is torn.

In the spirit of ALICE (https://www.usenix.org/conference/osdi14/technical-sessions/presentation/pillai). ``RecordingFs`` writes down
the operations of one run; ``crash_states`` takes a moment of it and makes each legal disk: a name that no sync of its folder covers
may be done or not, whatever became of the other names; content that no sync of its file covers may be old, new, zeros or torn. A rename
into another folder may leave both names, never none. A disk is a value: paths to content, folders to None.
"""

import itertools
import math
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from modelcast.shared.fs import Fs

Disk = Mapping[str, bytes | None]
SECTOR_BYTES = 512
NO_CONTENT = frozenset({"lock", "followers"})
"""Locks are taken beside ``Fs``; nobody reads what is in their files."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A name of a folder stands for this inode from now on, or for none. ``after`` is the edit without which it cannot be."""

    folder: int
    name: str
    inode: int | None
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """Bytes of a file; ``size`` is what its length becomes if that is not given by the bytes."""

    inode: int
    offset: int
    content: bytes
    size: int | None = None

    def on(self, before: bytes) -> bytes:
        """Return the file after it."""
        if self.size is not None:
            return before[: self.size].ljust(self.size, b"\0")
        return before[: self.offset].ljust(self.offset, b"\0") + self.content + before[self.offset + len(self.content) :]


@dataclass(frozen=True, slots=True)
class Synced:
    """What was done to this inode before is durable."""

    inode: int


@dataclass(frozen=True, slots=True)
class Mark:
    """The caller had been told of something."""

    text: str


Operation = Edit | Data | Synced | Mark
ROOT = 0


class RecordingFs(Fs):
    """The real ``Fs``, and a trace of what is done below a folder.

    Args:
        root: The folder; everything in it counts as durable now.

    Attributes:
        trace: The operations.
        folders: Names at the start, by folder and name.
        files: Contents at the start, by inode.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.trace = root, list[Operation]()
        self._numbers = itertools.count(1)
        self._names: dict[int, dict[str, int]] = {ROOT: {}}
        self.files: dict[int, bytes] = {}
        for path in sorted(root.rglob("*")):
            if path.name not in NO_CONTENT:
                self._adopt(path)
        self.folders = {inode: dict(names) for inode, names in self._names.items()}
        self.trace.clear()

    def mark(self, text: str) -> None:
        """Note that the caller was told of something."""
        self.trace.append(Mark(text))

    def _adopt(self, path: Path) -> None:
        inode = self._new(path)
        if path.is_dir():
            self._names[inode] = {}
        elif path.is_file():
            self.files[inode] = path.read_bytes()

    def _place(self, path: Path) -> tuple[int, str]:
        return self._inode(path.parent), path.name

    def _inode(self, path: Path) -> int:
        return ROOT if path == self.root else self._names[self._inode(path.parent)][path.name]

    def _knows(self, path: Path) -> bool:
        folder = self.root
        for part in path.relative_to(self.root).parts:
            if part not in self._names.get(self._inode(folder), {}):
                return False
            folder /= part
        return True

    def _edit(self, path: Path, inode: int | None, after: int | None = None) -> int:
        folder, name = self._place(path)
        self.trace.append(Edit(folder, name, inode, after))
        if inode is None:
            del self._names[folder][name]
        else:
            self._names[folder][name] = inode
        return len(self.trace) - 1

    def _new(self, path: Path) -> int:
        inode = next(self._numbers)
        self._edit(path, inode)
        return inode

    def make_folder(self, path: Path) -> None:
        if path.is_dir():
            return
        if not path.parent.is_dir():
            self.make_folder(path.parent)
        self._names[self._new(path)] = {}
        super().make_folder(path)

    def open_for_assembly(self, path: Path, size: int) -> int:
        inode = self._inode(path) if self._knows(path) else self._new(path)
        self.trace.append(Data(inode, 0, b"", size))
        return super().open_for_assembly(path, size)

    def write_at(self, descriptor: int, content: bytes | memoryview, offset: int, path: Path) -> None:
        inode = self._inode(path) if self._knows(path) else self._new(path)   # a temporary file: made by ``write_whole``
        self.trace.append(Data(inode, offset, bytes(content)))
        super().write_at(descriptor, content, offset, path)

    def sync(self, descriptor: int, path: Path) -> None:
        super().sync(descriptor, path)
        self.trace.append(Synced(self._inode(path)))

    def sync_folder(self, path: Path) -> None:
        super().sync_folder(path)
        if path.is_relative_to(self.root):
            self.trace.append(Synced(self._inode(path)))

    def rename(self, source: Path, target: Path) -> None:
        added = self._edit(target, self._inode(source))
        self._edit(source, None, after=added)
        super().rename(source, target)

    def remove(self, path: Path) -> None:
        if path.is_file():
            self._edit(path, None)
        super().remove(path)

    def remove_tree(self, path: Path) -> None:
        for inner in [*sorted(path.rglob("*"), reverse=True), path] if path.is_dir() else []:
            self._edit(inner, None)
        super().remove_tree(path)

    def now(self) -> Disk:
        """Return what the disk would be had everything been done; equal to the real folder, or something went past this."""
        return self.disk(*_after(self.folders, self.files, self.trace))

    def disk(
        self, folders: Mapping[int, Mapping[str, int]], files: Mapping[int, bytes], inode: int = ROOT, prefix: str = ""
    ) -> Disk:
        """Return the disk on which these folders and files stand."""
        found: dict[str, bytes | None] = {}
        for name, inner in folders.get(inode, {}).items():
            if inner in self._names:
                found[prefix + name] = None
                found |= self.disk(folders, files, inner, f"{prefix}{name}/")
            else:
                found[prefix + name] = files.get(inner, b"")   # made, and nothing written to it
        return found


def _after(
    folders: Mapping[int, Mapping[str, int]], files: Mapping[int, bytes], operations: list[Operation]
) -> tuple[dict[int, dict[str, int]], dict[int, bytes]]:
    """Return folders and files after these operations."""
    names = {inode: dict(entries) for inode, entries in folders.items()}
    contents = dict(files)
    for operation in operations:
        match operation:
            case Edit(folder, name, None):
                names.setdefault(folder, {}).pop(name, None)
            case Edit(folder, name, inode):
                names.setdefault(folder, {})[name] = inode
            case Data(inode):
                contents[inode] = operation.on(contents.get(inode, b""))
    return names, contents


def torn(before: bytes, writes: list[Data]) -> list[bytes]:
    """Return what a file may hold whose last writes were not synced: first nothing of them, last all of them."""
    found = [before]
    for chosen in ([writes[:1], writes[-1:], writes[1:], writes[:-1]] if len(writes) > 1 else []):
        content = before
        for write in chosen:
            content = write.on(content)
        found.append(content)
    whole = before
    for write in writes:
        whole = write.on(whole)
    middle = len(whole) // 2 // SECTOR_BYTES * SECTOR_BYTES or len(whole) // 2
    zeros = bytes(len(whole))
    found += [b"", zeros, whole[:middle], whole[:middle] + zeros[middle:], zeros[:middle] + whole[middle:]]
    shortest = min(len(before), len(whole))
    return [*dict.fromkeys(content for content in found if content != whole and len(content) >= shortest), whole]


def crash_states(recorded: RecordingFs, moment: int, *, exhaustive_to: int = 64, sample: int = 16) -> Iterator[Disk]:
    """Make the disks that a power cut may leave after the first ``moment`` operations.

    All of them while there are no more than ``exhaustive_to``; else nothing, everything, everything but one, nothing but one, and
    ``sample`` at random, the same at every run.
    """
    done = recorded.trace[:moment]
    last_sync = {operation.inode: at for at, operation in enumerate(done) if isinstance(operation, Synced)}

    def is_durable(at: int, operation: Operation) -> bool:
        inode = operation.folder if isinstance(operation, Edit) else operation.inode if isinstance(operation, Data) else None
        return inode is not None and last_sync.get(inode, -1) > at

    durable = [operation for at, operation in enumerate(done) if is_durable(at, operation)]
    folders, files = _after(recorded.folders, recorded.files, durable)
    edits = [(at, edit) for at, edit in enumerate(done) if isinstance(edit, Edit) and not is_durable(at, edit)]
    unsynced: dict[int, list[Data]] = {}
    for at, operation in enumerate(done):
        if isinstance(operation, Data) and not is_durable(at, operation):
            unsynced.setdefault(operation.inode, []).append(operation)
    contents = [(inode, torn(files.get(inode, b""), writes)) for inode, writes in unsynced.items()]
    pending = {at for at, _ in edits}
    for choice in _choices([2] * len(edits) + [len(found) for _, found in contents], exhaustive_to, sample, seed=moment):
        kept = {at for (at, _), is_kept in zip(edits, choice, strict=False) if is_kept}
        if any(at in kept and edit.after in pending and edit.after not in kept for at, edit in edits):
            continue
        names, _ = _after(folders, {}, [edit for at, edit in edits if at in kept])
        chosen = {inode: found[which] for (inode, found), which in zip(contents, choice[len(edits) :], strict=True)}
        yield recorded.disk(names, files | chosen)


def _choices(sizes: list[int], exhaustive_to: int, sample: int, seed: int) -> Iterator[tuple[int, ...]]:
    """Choose one of ``sizes[n]`` possibilities for each ``n``; 0 is nothing done, the last is all done."""
    if math.prod(sizes) <= exhaustive_to:
        yield from itertools.product(*map(range, sizes))
        return
    nothing, everything = tuple(0 for _ in sizes), tuple(size - 1 for size in sizes)
    yield from (nothing, everything)
    for base in (nothing, everything):
        for at, size in enumerate(sizes):
            yield from ((*base[:at], value, *base[at + 1 :]) for value in range(size) if value != base[at])
    chance = random.Random(seed)
    for _ in range(sample):
        yield tuple(chance.randrange(size) for size in sizes)


def disk_of(root: Path) -> Disk:
    """Read a folder."""
    return {
        path.relative_to(root).as_posix(): None if path.is_dir() else path.read_bytes()
        for path in root.rglob("*") if path.name not in NO_CONTENT
    }


def write_disk(disk: Disk, root: Path) -> None:
    """Write a folder."""
    root.mkdir(mode=0o700)
    for path, content in sorted(disk.items()):
        if content is None:
            (root / path).mkdir(mode=0o700)
        else:
            descriptor = os.open(root / path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.write(descriptor, content)
            os.close(descriptor)
