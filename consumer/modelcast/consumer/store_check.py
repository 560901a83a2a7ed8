"""What ``modelcast doctor --store`` says of an instance's store: who may write it, who uses it, and whether its release runs here.

Decides what is wrong with a store, without the model being loaded and without changing anything. Found by its entry point. Imports the
store, the rules and the trust.
"""

import os
import platform
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from modelcast.consumer.loaders import available_loaders
from modelcast.consumer.parts import INSTANCE_FILE, installed, read_instance
from modelcast.consumer.policy import Policy
from modelcast.consumer.rules import Host, check_environment
from modelcast.consumer.store import Store, misfit_in
from modelcast.consumer.trust import open_manifest
from modelcast.shared.doctor.file_checks import space_finding
from modelcast.shared.doctor.findings import Case, Finding, carried_out, finding_of, fine, problem, warning
from modelcast.shared.errors import HostFault, SenderFault
from modelcast.shared.file_watch import TELLING, kind_of_file_system
from modelcast.shared.fs import Fs
from modelcast.shared.keyfiles import load_key_ring
from modelcast.shared.limits import DEFAULT_LIMITS, GIB
from modelcast.shared.locks import HostLock
from modelcast.shared.manifest import MANIFEST_FORMATS, Manifest
from modelcast.shared.signing import Envelope

_AGAIN = "Start the application: it fetches it again."


def check_store(case: Case) -> Iterator[Finding]:
    """Look at the store that the case names."""
    if case.store is None or case.model is None:
        return
    root = Path(case.store)
    folder = root / case.model / case.channel
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    yield file_system_of(there, kind_of_file_system(there))
    if not os.access(there, os.W_OK | os.X_OK):
        remedy = f"Run: chown {os.geteuid()} {there}, or run this as the application's user."
        yield problem("store", f"This user may not write to {there}.", remedy)
        return
    if there != folder:
        yield fine("store", f"{folder} is not there yet; the first start of the application makes it.")
        yield space_finding("store space", there)
        return
    store = Store(folder, Fs())
    try:
        store.fs.refuse_if_others_may_write(folder)
        instance = read_instance(root / INSTANCE_FILE, store.fs)
        if instance is not None:
            yield fine("store", f"{root} belongs to instance {instance}.", instance=instance)
    except HostFault as fault:
        yield finding_of("store", fault, "Give the store to the application's user alone.")
    yield used_by(store)
    yield from carried_out("active release", partial(_active, store), case)


def file_system_of(path: Path, kind: str | None) -> Finding:
    """Say whether a store may lie on a file system of this kind."""
    if kind is None or kind in TELLING:
        return fine("store disk", f"{path} lies on {kind or 'a file system that does not say what it is'}.", kind=kind)
    return warning(
        "store disk", f"{path} lies on {kind}, which other hosts may share: locks and durable writes are not sure there.",
        "Put the store on a local disk; each host needs one of its own.", kind=kind,
    )


def used_by(store: Store) -> Finding:
    """Say which process receives for a store."""
    notice, lock = store.notice(), store.root / "lock"
    if lock.is_file() and os.access(lock, os.R_OK | os.W_OK):
        tried = HostLock(lock)
        try:
            is_free = tried.take(shared=True)   # for a moment, and only where nobody has it
        finally:
            tried.release()
        if not is_free:
            if notice is None:
                return fine("store lock", "A process receives for it, and has not told yet which.")
            text = f"Process {notice.pid} receives for it, as instance {notice.instance}; other processes follow."
            return fine("store lock", text, pid=notice.pid, instance=notice.instance)
    return fine("store lock", "No process uses it now.")


def _active(store: Store, case: Case) -> Iterator[Finding]:
    pointer = store.pointer()
    release = None if pointer is None else pointer.release
    if pointer is None or release is None:
        yield fine("active release", "There is none yet: the application is not ready until one comes.")
        yield space_finding("store space", store.root)
        return
    if not store.has(release):
        yield warning("active release", f"Release {release[:12]} is not in the store.", _AGAIN, release=release)
        return
    envelope = store.envelope(release)
    try:
        if case.trust:
            manifest, _ = open_manifest(envelope, load_key_ring(case.trust))
        else:
            payload = Envelope.from_bytes(envelope, what="manifest").payload
            manifest = Manifest.from_bytes(payload, what="manifest", formats=MANIFEST_FORMATS, max_bytes=DEFAULT_LIMITS.order_bytes)
    except SenderFault as fault:
        yield problem(
            "active release", f"The release in the store would not be loaded: {fault}",
            "Trust the key that signed it, or publish it again signed by a key that is trusted.", reason=fault.reason.value,
        )
        return
    yield _whole(store, release, manifest)
    yield environment_finding(manifest)
    size = manifest.artifact.size
    yield space_finding("store space", store.root, min(5 * GIB, 2 * size), "the next release of this size may not fit")


def _whole(store: Store, release: str, manifest: Manifest) -> Finding:
    damage = misfit_in(store.folder(release), manifest.artifact)
    if damage is not None:
        return problem("active release", f"{manifest.version} is damaged: {damage.text}.", _AGAIN, release=release)
    return fine(
        "active release", f"It is {manifest.version} ({manifest.artifact.format}, {manifest.artifact.size / 1e6:.1f} MB).",
        version=manifest.version, release=release, bytes=manifest.artifact.size,
    )


def environment_finding(manifest: Manifest) -> Finding:
    """Say whether a release runs with this Python and its libraries, by the rules of an application that sets none."""
    loaders = frozenset(available_loaders({}))
    host = Host(platform.python_version(), sys.implementation.name, installed, loaders)
    try:
        check_environment(manifest, Policy(), host)
    except SenderFault as fault:
        return problem(
            "libraries", f"{manifest.version} would be refused here: {fault}",
            "Run this with the application's Python; install what the release was made with, or make it anew with what is here.",
            **fault.facts,
        )
    if manifest.artifact.loader not in loaders:
        remedy = "Install the library of that format, if the application does not bring a loader of its own."
        return warning("libraries", f"No loader {manifest.artifact.loader!r} is here.", remedy, loader=manifest.artifact.loader)
    built = manifest.environment
    return fine(
        "libraries", f"{manifest.version} was made with Python {built.python}"
        + "".join(f", {name} {version}" for name, version in sorted(built.dependencies.items())) + "; here it runs.",
        python=built.python, dependencies=built.dependencies,
    )
