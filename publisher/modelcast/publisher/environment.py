"""What loading a model will need: Python, platform, and the versions of the libraries that it imports.

Decides how modules become distributions. What cannot be resolved is an error with the way out, never a quiet gap. Imports
the manifest and errors.
"""

import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

from modelcast.shared.errors import MisuseError
from modelcast.shared.manifest import Environment, Lineage

GIT_SECONDS = 5.0


def environment(modules: Iterable[str] | None, given: Mapping[str, str] | None = None) -> Environment:
    """Describe this host for a model that imports ``modules``.

    Args:
        modules: Top-level names of modules, found by looking at the model; None when nobody looked.
        given: Distribution names with versions; replaces what was found.

    Raises:
        MisuseError: A module belongs to no installed distribution.
    """
    return Environment(
        python=platform.python_version(), implementation=sys.implementation.name, platform=sys.platform,
        machine=platform.machine(), captured=given is None and modules is not None,
        dependencies=dict(given) if given is not None else _versions(modules or ()),
    )


def _versions(modules: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    unknown: list[str] = []
    for module in sorted(set(modules)):
        try:
            name = _distribution(module)
        except LookupError:
            unknown.append(module)
        else:
            found[name] = metadata.version(name)
    if unknown:
        raise MisuseError(
            f"The model imports {', '.join(unknown)}, which no installed package provides; an instance would not find it either.",
            hint="Install your code as a package on both sides, pickle it by value "
            "(cloudpickle.register_pickle_by_value(module)), or give dependencies={...} yourself.",
            facts={"modules": unknown},
        )
    return found


@cache
def _distribution(module: str) -> str:
    """Return the distribution that provides a module; raises LookupError, which is not remembered, when there is none.

    The one of the same name is asked first: looking through everything that is installed takes 75 to 150 ms.
    """
    alike = _named_like(module)
    if alike is not None and _provides(alike, module):
        return str(alike.metadata["Name"])
    names = _all_distributions().get(module)
    if names is None and alike is None:
        _all_distributions.cache_clear()   # it may have been installed since
        names = _all_distributions().get(module)
    if names:
        return names[0]
    if alike is None:
        raise LookupError(module)
    return str(alike.metadata["Name"])   # an editable install does not say what it provides


@cache
def _all_distributions() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def _named_like(module: str) -> metadata.Distribution | None:
    try:
        return metadata.distribution(module.replace("_", "-"))
    except (metadata.PackageNotFoundError, ValueError):
        return None


def _provides(distribution: metadata.Distribution, module: str) -> bool:
    """Whether a distribution's own list of files shows that it holds a module."""
    top_level = distribution.read_text("top_level.txt")
    if top_level is not None:
        return module in top_level.split()
    record = distribution.read_text("RECORD")   # its lines; ``files`` makes a path of each: 16 ms for NumPy
    if record is not None:
        return any(line.startswith((f"{module}/", f"{module}.py,")) for line in record.splitlines())
    return any(file.parts[0] in {module, f"{module}.py"} for file in distribution.files or ())


def git_lineage(folder: Path) -> Lineage:
    """Return commit and cleanliness of the git work tree around ``folder``, or an empty lineage where there is none."""
    command = ["git", "-C", str(folder), "status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return Lineage()
    lines = done.stdout.splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    if commit == "(initial)":   # no commit yet
        return Lineage()
    return Lineage(commit=commit, dirty=any(not line.startswith("#") for line in lines))
