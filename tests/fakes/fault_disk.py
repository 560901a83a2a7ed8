"""A depot's disk that fails or dies at a chosen operation, and what a crash would have left on it.

``FaultDisk`` is the real ``Disk`` with a count before each operation that changes something. The disk of a crash is copied twice: as
after a killed process, and as after a power cut (``fault_fs.DurableDisk``).
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.fault_fs import Crash, DurableDisk

from modelcast.shared.depot.disk import Disk
from modelcast.shared.fs import storage_fault

CHANGES = (
    "make_folder", "add_folder", "write_new", "write_at", "sync", "sync_folder", "sync_all", "take_name", "move", "rename", "write_whole", "cut",
    "open_for_appending", "remove", "remove_tree",
)


class FaultDisk(Disk):
    """See the module.

    Args:
        root: The depot's folder; everything in it counts as durable now.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.steps: list[str] = []
        self._crash_at: int | None = None
        self._copies: tuple[Path, Path] | None = None
        self._fail_at: int | None = None
        self._errno = 0
        self._durable: DurableDisk | None = None

    def crash_at(self, step: int, *, killed: Path, power_cut: Path) -> None:
        """Crash at the operation with this number from now on, and leave the two disks at these paths."""
        self.steps.clear()
        self._durable = DurableDisk(self._root)
        self._crash_at, self._copies = step, (killed, power_cut)

    def fail_at(self, step: int, errno: int) -> None:
        """Fail the operation with this number from now on and all that come after it, until ``heal``."""
        self.steps.clear()
        self._fail_at, self._errno = step, errno

    def heal(self) -> None:
        """Work from now on."""
        self._crash_at = self._fail_at = None
        if self._durable is not None:
            self._durable.close()
            self._durable = None

    def _step(self, what: str) -> None:
        number = len(self.steps)
        self.steps.append(what)
        if number == self._crash_at:
            assert self._copies is not None
            assert self._durable is not None
            shutil.copytree(self._root, self._copies[0], symlinks=True)
            self._durable.write_to(self._copies[1])
            raise Crash
        if self._fail_at is not None and number >= self._fail_at:
            raise storage_fault(what, self._root, OSError(self._errno, os.strerror(self._errno)))

    def write_at(self, descriptor: int, content: bytes | memoryview, offset: int, path: Path) -> None:
        half = len(content) // 2
        self._step("write")
        super().write_at(descriptor, content[:half], offset, path)
        self._step("write the rest")
        super().write_at(descriptor, content[half:], offset + half, path)

    def sync(self, descriptor: int, path: Path) -> None:
        self._step("sync")
        super().sync(descriptor, path)
        if self._durable is not None:
            self._durable.synced_file(path)

    def sync_folder(self, path: Path) -> None:
        self._step("sync folder")
        super().sync_folder(path)
        if self._durable is not None and path.is_relative_to(self._root):
            self._durable.synced_folder(path)

    def sync_all(self, path: Path, descriptor: int | None = None) -> bool:
        self._step("sync all")
        done = super().sync_all(path, descriptor)
        if done and self._durable is not None:
            for folder, _, names in os.walk(self._root):
                self._durable.synced_folder(Path(folder))
                for name in names:
                    self._durable.synced_file(Path(folder) / name)
        return done


def _counted(name: str) -> Callable[..., Any]:
    def operation(self: FaultDisk, *arguments: Any, **options: Any) -> Any:
        if name not in {"make_folder", "add_folder"} or not arguments[0].is_dir():
            self._step(name)
        return getattr(super(FaultDisk, self), name)(*arguments, **options)

    return operation


for _name in CHANGES:
    if _name not in vars(FaultDisk):
        setattr(FaultDisk, _name, _counted(_name))
