"""What can be said of a shared directory: whether it is one, who may write it, what its file system does, its room and its clock.

Decides what is too little. Leaves nothing behind. Imports the depot and the watch.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from modelcast.shared.depot.depot import Depot
from modelcast.shared.depot.disk import Disk, temporary_name
from modelcast.shared.depot.layout import MARKER, MARKER_TEXT
from modelcast.shared.doctor.findings import Case, Finding, carried_out, clock_finding, finding_of, fine, problem, warning
from modelcast.shared.errors import HostFault
from modelcast.shared.file_url import FileUrl
from modelcast.shared.file_watch import POLL_SECONDS, TELLING, TELLING_POLL_SECONDS, kind_of_file_system
from modelcast.shared.fs import guarded
from modelcast.shared.limits import GIB, MIB, counted

LITTLE_SPACE, TOO_LITTLE_SPACE = 5 * GIB, 64 * MIB


def check_directory(case: Case) -> Iterator[Finding]:
    """Look at the shared directory that the case names."""
    url = FileUrl.parse(case.url)
    root = Path(url.path)
    yield from _is_depot(Depot(root, allow_shared_writes=url.allow_shared_writes))
    if root.is_dir():
        yield file_system_finding(root, kind_of_file_system(root), url.poll_seconds)
        yield space_finding("space", root)
        yield from carried_out("writing", lambda _: written(root), case)


def _is_depot(depot: Depot) -> Iterator[Finding]:
    root, disk = depot.root, depot.disk
    try:
        if not disk.is_folder(root):
            depot.enter(founds=False)   # says what to do
        depot.check_alone(root)
        marker = disk.read_if_there(root / MARKER, 64)
        if marker is None and not [name for name in disk.names(root) if not name.startswith(".") and name != "lost+found"]:
            yield warning(
                "directory", f"{root} is empty: nothing was published there, or something is not mounted.",
                "Mount what should be there; otherwise publish a release: the first publisher makes it a directory of modelcast.",
            )
            return
        if marker != MARKER_TEXT:
            depot.enter(founds=False)   # says what is there instead
    except HostFault as fault:
        yield finding_of("directory", fault, "Look at the directory and at who owns it.")
        return
    models = depot.models()
    yield fine("directory", f"{root} is a directory of modelcast, with {counted(len(models), 'model')}.", models=models)


def file_system_finding(root: Path, kind: str | None, poll_seconds: float | None) -> Finding:
    """Say whether a file system of this kind tells of changes, or how often it is looked at."""
    if poll_seconds is not None:
        return fine("file system", f"{kind or 'It'} is looked at every {poll_seconds:g} s, as the address asks.", kind=kind)
    if kind in TELLING:
        return fine(
            "file system", f"{kind} tells of changes at once (and is looked at every {TELLING_POLL_SECONDS:g} s besides).", kind=kind,
        )
    return fine(
        "file system", f"{kind or 'The file system'} does not tell of changes of other hosts: {root} is looked at every "
        f"{POLL_SECONDS:g} s, so an order is up to {POLL_SECONDS:g} s late. The option ?poll=0.2 makes it faster.", kind=kind,
    )


def space_finding(subject: str, folder: Path, wanted: int = LITTLE_SPACE, what: str = "a large release may not fit") -> Finding:
    """Say whether there is enough room on the file system of a folder."""
    facts = guarded("look at", folder, lambda: os.statvfs(folder))
    free = facts.f_bavail * facts.f_frsize
    text = f"{free / 1e9:.1f} GB are free on the file system of {folder}"
    if free < TOO_LITTLE_SPACE:
        return problem(subject, f"{text}: nothing can be received.", "Free space there, or use another disk.", free_bytes=free)
    if free < wanted:
        return warning(subject, f"{text}: {what}.", "Free space there, or use a larger disk.", free_bytes=free, wanted_bytes=wanted)
    return fine(subject, f"{text}.", free_bytes=free)


def written(root: Path, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Write a file, compare its time with this host's clock, and remove it."""
    path, disk = root / temporary_name(), Disk()
    try:
        before = now()
        disk.write_new(path, b"modelcast doctor", is_durable=True)
        after, stamped = now(), guarded("look at", path, lambda: path.stat().st_mtime)
    except HostFault as fault:
        yield finding_of("writing", fault, "Give this user the right to write there: every role writes to the directory.")
        return
    finally:
        with suppress(OSError):
            path.unlink()
    yield fine("writing", f"This user can write to {root}; {1000 * (after - before):.0f} ms for a small file that lasts.")
    yield clock_finding("clock", stamped - min(max(stamped, before), after), f"the file system of {root}")
