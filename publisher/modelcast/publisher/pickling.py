"""The only pickler: an object becomes a pickle stream with its large buffers beside it, page-aligned.

Decides the layout that ``consumer.pickles`` maps: ``model.pickle`` (protocol 5), ``model.buffers`` (each buffer at a multiple
of 4,096 bytes) and ``model.layout`` (their offsets and sizes, msgpack). Nothing is copied: the buffers are views of the
model's own memory. Also notes which modules the object needs. Imports cloudpickle, packing, errors and sources.
"""

import dis
import io
import pickle
import sys
from types import CodeType, FunctionType, ModuleType
from typing import Any

import cloudpickle

from modelcast.publisher.sources import MemoryFile, SourceFile
from modelcast.shared.errors import Unpicklable
from modelcast.shared.limits import shortened
from modelcast.shared.packing import pack

PAGE_BYTES = 4096
MIN_BUFFER_BYTES = PAGE_BYTES
"""A buffer smaller than a page stays in the stream: beside it, it would cost a page."""
PROTOCOL = 5


class _NotingPickler(cloudpickle.Pickler):  # type: ignore[misc] # cloudpickle ships no types
    """A cloudpickle pickler that notes the top-level modules of everything it meets."""

    def __init__(self, file: io.BytesIO, buffers: list[memoryview]) -> None:
        self.modules: set[str] = {"cloudpickle"}
        self._buffers = buffers
        super().__init__(file, protocol=PROTOCOL, buffer_callback=self._keep_in_band)  # pyright: ignore[reportCallIssue] # untyped

    def _keep_in_band(self, buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < MIN_BUFFER_BYTES:
            return True
        self._buffers.append(view)
        return False

    def reducer_override(self, obj: Any) -> Any:
        """Note what is reduced; see ``pickle.Pickler.reducer_override``."""
        reduced = super().reducer_override(obj)
        by_name = reduced is NotImplemented   # else cloudpickle packs it whole, and its module is not needed to load it
        if by_name and isinstance(obj, ModuleType):
            self._note(obj.__name__)
        elif by_name and isinstance(obj, FunctionType | type):
            self._note(obj.__module__)
        elif isinstance(obj, FunctionType):
            self.modules |= _imports_of(obj.__code__)   # of a function that travels; what a library imports in its own is its business
        return reduced

    def _note(self, module: str | None) -> None:
        if module:
            self.modules.add(module.partition(".")[0])


def _imports_of(code: CodeType) -> set[str]:
    """Names that a function imports in its body, which no pickle shows."""
    found = {str(i.argval).partition(".")[0] for i in dis.get_instructions(code) if i.opname == "IMPORT_NAME"}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _imports_of(constant)
    return found - {""}


def pickle_object(model: object) -> tuple[list[SourceFile], set[str]]:
    """Pickle ``model`` without copying its large buffers.

    Returns:
        The files of the artifact, and the top-level modules that loading it needs.

    Raises:
        Unpicklable: Something in it cannot be pickled; the message says what.
    """
    stream, views = io.BytesIO(), list[memoryview]()
    pickler = _NotingPickler(stream, views)
    try:
        pickler.dump(model)
    except Exception as error:   # the model's own classes say how they are pickled, and may raise anything
        raise Unpicklable(
            f"This {type(model).__name__} cannot be pickled: {shortened(error, 300)}.",
            hint="Take open files, locks, connections and generators out of the model, "
            "or save it to a file and publish the path.",
        ) from error
    parts: list[bytes | memoryview] = []
    layout: list[list[int]] = []
    position = 0
    for view in views:
        layout.append([position, view.nbytes])
        padding = -view.nbytes % PAGE_BYTES
        parts.extend([view, bytes(padding)] if padding else [view])
        position += view.nbytes + padding
    files: list[SourceFile] = [
        MemoryFile("model.layout", [pack({"format": 1, "buffers": layout})]),
        MemoryFile("model.pickle", [stream.getbuffer()]),
    ]
    if parts:
        files.append(MemoryFile("model.buffers", parts, cuts=[offset for offset, _ in layout]))
    return files, pickler.modules - set(sys.stdlib_module_names) - {"__main__", "builtins"}
