"""The processes of a round as the harness sees them: started, listened to, told, ended by their process ids.

Decides what happens when one fails: the round ends with what it wrote to its log. Imports task.
"""

import contextlib
import queue
import subprocess
import sys
import threading
from pathlib import Path

from tests.benchmarks.task import Mark, Task

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 600.0
END_SECONDS = 20.0


class RoundFailed(RuntimeError):
    """A process of a round ended, or said nothing for ten minutes."""


class Player:
    """A publisher or an instance.

    Args:
        role: ``publish`` or ``receive``.
        task: What it is told.
        module: The program that plays it.
    """

    def __init__(self, role: str, task: Task, *, module: str = "tests.benchmarks.role") -> None:
        self.task, self.marks = task, dict[str, Mark]()
        folder = Path(task.folder)
        folder.mkdir(parents=True)
        self._log_path = folder / "log"
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, role, task.to_json()], cwd=ROOT, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )
        self.pid = self._process.pid
        self._queue: queue.SimpleQueue[Mark | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, name: str) -> Mark:
        """Return a mark when it is there.

        Raises:
            RoundFailed: The process ended before it.
        """
        while name not in self.marks:
            try:
                mark = self._queue.get(timeout=PATIENCE_SECONDS)
            except queue.Empty:
                mark = None
            if mark is None:
                tail = self._log_path.read_text(errors="replace")[-3000:]
                raise RoundFailed(f"{self.task.contender}, instance {self.task.number}, never said {name!r}. Its log ends with:\n{tail}")
            self.marks[mark.name] = mark
        return self.marks[name]

    def drain(self) -> None:
        """Take the marks that are there without waiting."""
        while not self._queue.empty() and (mark := self._queue.get()) is not None:
            self.marks[mark.name] = mark

    def tell(self, word: str) -> None:
        """Say a word to it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{word}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return   # it has ended; wait_for says why

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Let it end and reap it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.tell("end")
        with contextlib.suppress(BrokenPipeError):   # it has ended, and a word was still on its way
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        self._reader.join()
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._queue.put(Mark.from_json(line))
        self._queue.put(None)
