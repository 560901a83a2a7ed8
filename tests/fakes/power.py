"""A disk whose power a test can cut: an ext4 file system in a file, behind a loop device.

``cut`` stops the file system where it is: what was not synced never reaches the device, as the kernel's own shutdown call has it
(``EXT4_IOC_SHUTDOWN`` without the log). Needs Linux, root, and loop devices.
"""

import fcntl
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

PATIENCE_SECONDS = 20.0
SHUTDOWN, WITHOUT_THE_LOG = 0x8004_587D, 2


class PoweredDisk:
    """A disk of its own for some folder.

    Args:
        image: Where the file is made that holds it.
        folder: Where it is to be seen.
        mebibytes: Its size.
    """

    def __init__(self, image: Path, folder: Path, mebibytes: int = 1024) -> None:
        self.folder, self._image = folder, image
        with image.open("wb") as file:
            file.truncate(mebibytes << 20)
        self._run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0", str(image))
        folder.mkdir()
        self.restore()

    @staticmethod
    def is_possible() -> bool:
        """Whether this machine and this user can have one."""
        return sys.platform == "linux" and os.geteuid() == 0 and Path("/dev/loop-control").exists() and shutil.which("mkfs.ext4") is not None

    def sync(self) -> None:
        """Bring everything onto it."""
        self._run("sync", "--file-system", str(self.folder))

    def cut(self) -> None:
        """Cut the power: nothing that is not on the device comes onto it any more, and every call fails."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, struct.pack("I", WITHOUT_THE_LOG))
        finally:
            os.close(descriptor)

    def restore(self) -> None:
        """Have the power again; nobody may have a file open since it was cut."""
        self.close()
        self._run("mount", "-o", "loop", str(self._image), str(self.folder))

    def close(self) -> None:
        """Take it away."""
        deadline, pause = time.monotonic() + PATIENCE_SECONDS, threading.Event()
        while os.path.ismount(self.folder):
            done = subprocess.run(["umount", str(self.folder)], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            assert time.monotonic() < deadline, done.stderr   # a process that was killed has its files open for a moment
            pause.wait(0.1)

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
