"""The two locks of a model: who sends chunks keeps out whoever sends, who orders keeps out whoever orders.

Decides in which order they are taken. Imports the lock.
"""

from modelcast.shared.locks import HostLock


class ModelLocks:
    """Both locks, in one hand.

    Args:
        publishing: Held by whoever sends chunks, or removes them, from the beginning to the end.
        ordering: Held by whoever orders, and by whoever sends, but for the time in which others may order.
    """

    def __init__(self, publishing: HostLock, ordering: HostLock) -> None:
        self._publishing, self._ordering = publishing, ordering

    def take(self, *, sends: bool = True) -> bool:
        """Take what is needed, all of it or nothing, if that can be done at once; returns whether it is held now.

        Raises:
            StorageFault: A file cannot be opened, or this file system has no locks.
        """
        if sends and not self._publishing.take():
            return False
        try:
            if self._ordering.take():
                return True
        except BaseException:
            self.release()
            raise
        self.release()
        return False

    @property
    def are_apart(self) -> bool:
        """Whether others may order."""
        return not self._ordering.is_held

    @property
    def may_send(self) -> bool:
        """Whether nobody else sends."""
        return self._publishing.is_held

    def apart(self) -> None:
        """Let others order. Never raises."""
        self._ordering.release()

    def rejoin(self) -> bool:
        """Keep others from ordering again, if nobody is ordering right now; returns whether it is so. Raises like ``take``."""
        return self._ordering.take()

    def release(self) -> None:
        """Let go of what is held. Never raises."""
        self._ordering.release()
        self._publishing.release()
