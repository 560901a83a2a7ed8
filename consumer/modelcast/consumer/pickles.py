"""The only unpickler: loads what ``publisher.pickling`` laid out, its large buffers mapped instead of read.

Decides nothing about trust: whoever calls it has verified signature, manifest and every byte before. The mapping is
copy-on-write, so arrays are writable and processes of one host share the pages until they write. Decides how serving threads
are spared meanwhile: the unpickler, which lets nobody in while it works, is fed in pieces with rests between them, and the
mapped pages are entered into the page table here instead of by the first requests. Imports breathing, packing and errors.
"""

import mmap
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from modelcast.consumer.breathing import Breather
from modelcast.shared.errors import SenderFault
from modelcast.shared.limits import MIB
from modelcast.shared.packing import unpack
from modelcast.shared.reasons import Reason

BUFFERS = "model.buffers"
"""The file that is mapped; nothing of it is unpickled."""
MADV_POPULATE_READ = 22
"""madvise(2), Linux 5.14; Python has no name for it. Older kernels refuse it, and the pages are entered when they are touched."""


def load_pickled(folder: Path) -> object:
    """Load an artifact of the format ``cloudpickle``.

    Raises:
        SenderFault: The layout contradicts the files.
        Exception: Whatever the model's own code raises.
    """
    layout = unpack((folder / "model.layout").read_bytes(), what="buffer layout")
    ranges = layout.get("buffers")
    if layout.get("format") != 1 or not isinstance(ranges, list):
        raise SenderFault(Reason.LOAD_FAILED, "The artifact's buffer layout has an unknown format.")
    breather = Breather()
    buffers = _mapped(folder / BUFFERS, ranges, breather)
    with (folder / "model.pickle").open("rb") as stream:
        return pickle.Unpickler(_InPieces(stream, breather), buffers=_one_by_one(buffers, breather)).load()


class _InPieces:
    """A pickle stream that rests between reads. Without ``peek`` the unpickler reads one frame at a time: 64 KiB, under 1 ms."""

    def __init__(self, stream: BinaryIO, breather: Breather) -> None:
        self._stream, self._breather = stream, breather

    def read(self, size: int) -> bytes:
        """Return the next ``size`` bytes, after a rest if one is due."""
        self._breather.breathe()
        return self._stream.read(size)

    def readinto(self, buffer: memoryview) -> int:
        """Fill ``buffer``, after a rest if one is due; returns how many bytes came."""
        self._breather.breathe()
        return self._stream.readinto(buffer)   # type: ignore[attr-defined,no-any-return] # BinaryIO of open() has it

    def readline(self) -> bytes:
        """Return the next line; only old protocols have lines."""
        return self._stream.readline()


def _one_by_one(buffers: list[memoryview], breather: Breather) -> Iterator[memoryview]:
    """Give out the buffers; what is built around them (a thousand trees of a forest) may be one frame of the stream."""
    for buffer in buffers:
        breather.breathe()
        yield buffer


def _mapped(path: Path, ranges: list[list[int]], breather: Breather) -> list[memoryview]:
    if not ranges:
        return []
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    whole = memoryview(mapping)
    for start, size in ranges:
        if start < 0 or size < 0 or start + size > whole.nbytes:
            raise SenderFault(Reason.LOAD_FAILED, "The artifact's buffer layout points outside its buffers.")
    _enter_pages(mapping, breather)
    return [whole[start : start + size] for start, size in ranges]


def _enter_pages(mapping: mmap.mmap, breather: Breather) -> None:
    """Enter the pages into the page table, a MiB (25 microseconds) at a time: madvise keeps the interpreter's lock."""
    if sys.platform == "linux":
        for start in range(0, len(mapping), MIB):
            breather.breathe()
            try:
                mapping.madvise(MADV_POPULATE_READ, start, min(MIB, len(mapping) - start))
            except OSError:
                return   # an older kernel, or no memory for it: the pages are entered when they are touched
