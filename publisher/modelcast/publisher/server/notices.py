"""Who waits for a change in the depot, and what ends the wait: this server's own writing at once, others' as the file system tells.

Decides that one watch serves all who wait, whatever they wait for: no thread, one inotify for the whole server. Lives on the event
loop's thread. Imports the watch.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from modelcast.publisher.server.work import work
from modelcast.shared.errors import HostFault
from modelcast.shared.file_watch import Watch


class Topic:
    """Something that somebody waits for.

    Attributes:
        folders: Where it shows; the first is its name.
        probe: Says what is there, as a value that differs when there is more; called in a thread.
        count: How many changes there were; look at it before you look at the folder.
        users: How many wait or are about to.
    """

    def __init__(self, folders: Sequence[Path], probe: Callable[[], object]) -> None:
        self.folders, self.probe = tuple(folders), probe
        self.count, self.users = 0, 0
        self.seen: object = None
        self._waiting: set[asyncio.Future[None]] = set()

    def tell(self) -> None:
        """End the wait of all who wait here."""
        self.count += 1
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
        self._waiting.clear()

    async def changed(self, count: int) -> None:
        """Return when there were more changes than ``count``."""
        if self.count != count:
            return
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)


class Notices:
    """All topics.

    Args:
        poll_seconds: How often to look; None is as often as the file system needs.
    """

    def __init__(self, poll_seconds: float | None = None) -> None:
        self._poll_seconds = poll_seconds
        self._topics: dict[Path, Topic] = {}
        self._watch: Watch | None = None
        self._descriptor: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._looking: asyncio.Task[None] | None = None
        self._is_due = False

    @contextmanager
    def at(self, folders: Sequence[Path], probe: Callable[[], object]) -> Generator[Topic]:
        """Watch some folders, which exist, while the block runs."""
        topic = self._topics.get(folders[0])
        is_new = topic is None
        if topic is None:
            topic = self._topics[folders[0]] = Topic(folders, probe)
        topic.users += 1
        try:
            if is_new:
                self._rearm()
            yield topic
        finally:
            topic.users -= 1

    def tell(self, folder: Path, *, looks: bool = True) -> None:
        """Say that this server itself has changed a folder.

        Args:
            folder: The first folder of a topic.
            looks: Whether to look at once, which must be quick, so that those who wait are not woken a second time when the file
                system tells of it as well.
        """
        topic = self._topics.get(folder)
        if topic is not None and topic.users:
            if looks:
                topic.seen = _probe(topic)
            topic.tell()

    def tell_all(self) -> None:
        """End every wait: the server goes."""
        for topic in self._topics.values():
            topic.tell()

    def _rearm(self) -> None:
        """Watch the folders of all topics; those that nobody used since the last time are forgotten."""
        self.close()
        self._topics = {name: topic for name, topic in self._topics.items() if topic.users}
        loop = asyncio.get_running_loop()
        folders = {folder for topic in self._topics.values() for folder in topic.folders}
        self._watch = Watch(sorted(folders), self._poll_seconds)
        self._descriptor = self._watch.descriptor
        if self._descriptor is not None:
            loop.add_reader(self._descriptor, self._look)
        self._look()   # what came before it was watched

    def _look(self) -> None:
        if self._watch is None:
            return
        self._watch.wait(0)   # takes what the file system told
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._watch.poll_seconds, self._look)
        self._is_due = True
        if self._looking is None or self._looking.done():
            self._looking = loop.create_task(self._compare())

    async def _compare(self) -> None:
        """Look at each folder that somebody waits at, once, however many wait."""
        while self._is_due:
            self._is_due = False
            topics = [topic for topic in self._topics.values() if topic.users]
            seen = await work(_probe_all, topics)
            for topic, value in zip(topics, seen, strict=True):
                if value != topic.seen:
                    topic.seen = value
                    topic.tell()

    def close(self) -> None:
        """Stop watching; those who wait go on waiting for what this server does itself."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        if self._watch is not None:
            self._watch.close()
        self._watch = self._descriptor = self._timer = None


def _probe_all(topics: list[Topic]) -> list[object]:
    return [_probe(topic) for topic in topics]


def _probe(topic: Topic) -> object:
    try:
        return topic.probe()
    except (HostFault, OSError) as error:
        return str(error)   # who waits looks for himself, and says what is wrong
