"""Which loader reads which format: named by the signed manifest, never guessed, never a fallback.

Decides which loaders there are: the built-in ones whose library is installed, those of the application, and those that
packages register under the entry point group ``modelcast.loaders``. Imports a library only when its format is loaded.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from modelcast.consumer.pickles import load_pickled
from modelcast.shared.errors import SenderFault
from modelcast.shared.reasons import Reason

Loader = Callable[[Path], Any]
"""Takes the folder with the artifact's files and returns the model; may raise anything."""

OWN_FOLDER = ".modelcast"
"""What modelcast itself puts into an artifact (the samples); no loader looks at it."""


def only_file(folder: Path) -> Path:
    """Return the single file of an artifact.

    Raises:
        SenderFault: There are more, or none.
    """
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and OWN_FOLDER not in path.relative_to(folder).parts]
    if len(files) != 1:
        raise SenderFault(
            Reason.LOAD_FAILED, f"This format is one file; the artifact has {len(files)}.",
            facts={"files": [file.name for file in files[:20]]},
        )
    return files[0]


def _joblib(folder: Path) -> Any:
    import joblib  # noqa: PLC0415 - optional

    return joblib.load(only_file(folder), mmap_mode=None)


def _safetensors(folder: Path) -> Any:
    from safetensors.numpy import load_file  # noqa: PLC0415 - optional

    return load_file(only_file(folder))


def _onnx(folder: Path) -> Any:
    import onnxruntime  # noqa: PLC0415 - optional

    return onnxruntime.InferenceSession(str(only_file(folder)))


def _skops(folder: Path) -> Any:
    import skops.io  # noqa: PLC0415 - optional

    return skops.io.load(only_file(folder), trusted=[])


def _files(folder: Path) -> Path:
    return folder


_BUILT_IN: dict[str, tuple[str | None, Loader]] = {
    "cloudpickle": ("cloudpickle", load_pickled),
    "joblib": ("joblib", _joblib),
    "safetensors": ("safetensors", _safetensors),
    "onnx": ("onnxruntime", _onnx),
    "skops": ("skops", _skops),
    "files": (None, _files),
}


def available_loaders(own: Mapping[str, Loader]) -> dict[str, Callable[[], Loader]]:
    """Return every loader that can work here, by name; the application's own ones win."""
    found: dict[str, Callable[[], Loader]] = {
        name: (lambda loader=loader: loader)   # type: ignore[misc]
        for name, (library, loader) in _BUILT_IN.items() if library is None or find_spec(library) is not None
    }
    for point in entry_points(group="modelcast.loaders"):
        found[point.name] = point.load
    found.update({name: (lambda loader=loader: loader) for name, loader in own.items()})  # type: ignore[misc]
    return found
