"""Chunks that need not be copied: files of a shared directory and of the store share blocks, where their file system can (reflink).

Decides when that is tried (before anything is fetched), and that what is shared counts as nothing until it was read from its new place
and compared: whoever may write the directory could change it between two looks. Runs in the worker. Imports assembly and the seams.
"""

import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from modelcast.consumer.assembly import Assembly
from modelcast.consumer.store import Store
from modelcast.shared.errors import ModelcastError
from modelcast.shared.fs import Sharing

NAME = "file, shared blocks"
"""How chunks came, for reports."""
PROBE = "share-probe"


@runtime_checkable
class LendingRoad(Protocol):
    """A road whose chunks are files of this host."""

    def open_chunk(self, model: str, digest: str) -> int | None:
        """Open the file of a chunk that is not packed; returns a descriptor that the caller closes, or None."""
        ...

    def open_index(self, model: str) -> int | None:
        """Open any file of a model that is there as long as the model is; as above."""
        ...


class Borrowing:
    """Lets a store's files share blocks with a road's.

    Args:
        road: The road.
        model: Name of the model.
    """

    def __init__(self, road: LendingRoad, model: str) -> None:
        self._road, self._model = road, model
        self._is_possible: bool | None = None
        self._fell_short = False

    def is_possible(self, store: Store) -> bool:
        """Whether nothing needs to be received ahead: this file system can (a small file tells, once), and all was lent last time."""
        if self._is_possible is None:
            path, fs = store.root / PROBE, store.fs
            try:
                source = self._road.open_index(self._model)
                if source is None:
                    return False
                try:
                    probe = fs.open_for_assembly(path, 0)
                    try:
                        self._is_possible = fs.share_at(probe, source, 0, 0, path) is Sharing.DONE   # no bytes means all of them
                    finally:
                        os.close(probe)
                        fs.remove(path)
                finally:
                    os.close(source)
            except ModelcastError:
                return False   # the directory is away, or our disk is full: whoever needs them says so
        return self._is_possible and not self._fell_short

    def share(self, assembly: Assembly, stopped: Callable[[], None]) -> None:
        """Share what an assembly lacks; what cannot be shared is left for those who fetch.

        Raises:
            HostFault: Our own disk failed.
        """
        self._share(assembly, stopped)
        self._fell_short = not assembly.progress.is_complete   # packed chunks, above all: the next release's will be, too

    def _share(self, assembly: Assembly, stopped: Callable[[], None]) -> None:
        for chunk in assembly.progress.missing():
            stopped()
            try:
                descriptor = self._road.open_chunk(self._model, chunk.digest.hex())
            except ModelcastError:
                return   # the directory is away or not to be trusted; whoever fetches says so
            if descriptor is None:
                continue
            try:
                shared = assembly.share(chunk, descriptor)
            finally:
                os.close(descriptor)
            if shared is Sharing.IMPOSSIBLE:
                return
            if shared is Sharing.DONE:
                assembly.progress.sources.add(NAME)
