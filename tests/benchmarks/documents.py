"""What a run leaves behind: one JSON document with the facts of the machine; the one that the documentation shows is kept.

Decides the facts and the names of the files. Imports the standard library.
"""

import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.benchmarks.servers import find_program

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("modelcast", "numpy", "pika", "requests", "redis", "nats-py", "blake3")
PROGRAMS = {
    "RabbitMQ": ("rabbitmqctl", "version"), "nginx": ("nginx", "-v"), "Redis": ("redis-server", "--version"),
    "NATS": ("nats-server", "--version"),
}
PROGRAM_SECONDS = 20.0
VERSION = re.compile(r"\d+\.\d+\.\d+")


def is_busy() -> bool:
    """Whether others use the machine: more than a quarter of its cores were wanted in the last minute."""
    return os.getloadavg()[0] > (os.cpu_count() or 1) / 4


def machine_facts(**more: Any) -> dict[str, Any]:
    """Return what somebody must know to judge the figures; ``more`` is added."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": " ".join(["python -m tests.benchmarks", *sys.argv[1:]]),
        "commit": _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]).strip(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "programs": {name: found for name, command in PROGRAMS.items() if (found := _version(*command))},
        "packages": {name: found for name in PACKAGES if (found := _installed(name))},
        **more,
    }


def save(document: Mapping[str, Any], *, is_published: bool) -> Path:
    """Write a document: as the one that the documentation shows, or beside it with the time in its name."""
    RESULTS.mkdir(exist_ok=True)
    name = document["kind"] if is_published else f"{document['kind']}-{time.strftime('%Y%m%d-%H%M%S')}"
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    return path


def load(kind: str) -> dict[str, Any] | None:
    """Return the document that the documentation shows, or None."""
    path = RESULTS / f"{kind}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def facts_line(facts: Mapping[str, Any]) -> str:
    """Return the facts in a sentence."""
    versions = ", ".join(f"{name} {version}" for name, version in [*facts["programs"].items(), *facts["packages"].items()])
    place = f", files on {facts['file_system']}" if "file_system" in facts else ""
    return (
        f"{facts['date']}, modelcast at {facts['commit'] or 'an unknown commit'}: {facts['cores']} cores of {facts['cpu']}, "
        f"{facts['memory_gib']:g} GiB, {facts['kernel']}{place}; Python {facts['python']}, {versions}."
    )


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(program: str, option: str) -> str | None:
    path = find_program(program)
    found = VERSION.search(_said([path, option])) if path else None
    return found[0] if found else None


def _said(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_SECONDS, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr if done.returncode == 0 else ""


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
