"""The only unpickler: loads what ``publisher.pickling`` laid out, its large buffers mapped instead of read.

Decides nothing about trust: whoever calls it has verified signature, manifest and every byte before. The mapping is
copy-on-write, so arrays are writable and processes of one host share the pages until they write.
"""

import mmap
import pickle
from pathlib import Path

from modelcast.shared.errors import SenderFault
from modelcast.shared.packing import unpack
from modelcast.shared.reasons import Reason


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
    with (folder / "model.pickle").open("rb") as stream:
        return pickle.Unpickler(stream, buffers=_mapped(folder / "model.buffers", ranges)).load()


def _mapped(path: Path, ranges: list[list[int]]) -> list[memoryview]:
    if not ranges:
        return []
    with path.open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    whole = memoryview(mapping)
    for start, size in ranges:
        if start < 0 or size < 0 or start + size > whole.nbytes:
            raise SenderFault(Reason.LOAD_FAILED, "The artifact's buffer layout points outside its buffers.")
    return [whole[start : start + size] for start, size in ranges]
