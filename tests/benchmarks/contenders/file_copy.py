"""A file on a shared file system: every instance copies it and hashes its copy.

The most that a network file system on this machine could reach: its client and its server are left out.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator

from tests.benchmarks.contender import NoServer, Notice
from tests.benchmarks.task import Mark, Task


class FileCopy:
    """``shutil.copyfile``, then ``hashlib.file_digest``."""

    name = "file-copy"
    title = "file copy"
    server = NoServer()
    is_late = False

    def missing(self) -> str | None:
        """Nothing can be missing."""
        return None

    def publish(self, task: Task) -> Iterator[Mark]:
        """The file is there; saying so is all."""
        yield Mark.now("ready")
        yield Mark.now("published")

    def receive(self, task: Task, notice: Notice) -> Iterator[Mark]:
        """Copy, hash, sync."""
        yield Mark.now("ready")
        notice()
        shutil.copyfile(task.source, task.target)
        with task.target.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != task.sha256:
                raise ValueError("other bytes arrived")
            os.fsync(file.fileno())
        yield Mark.now("verified")
