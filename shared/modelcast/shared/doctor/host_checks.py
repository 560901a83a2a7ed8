"""What can be said of this host: Python, modelcast, and the key files that are to be used.

Decides which of them are problems. Imports the key files.
"""

import os
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path

from packaging.requirements import Requirement

from modelcast.shared.doctor.findings import Case, Finding, carried_out, finding_of, fine, problem, warning
from modelcast.shared.errors import ModelcastError
from modelcast.shared.signing import KeyRing, TrustedKey


def check_host(case: Case) -> Iterator[Finding]:
    """Look at this host."""
    yield from _python()
    yield from carried_out("keys", _keys, case)


def _python() -> Iterator[Finding]:
    python = f"{sys.implementation.name} {platform.python_version()}"
    text = f"modelcast {version('modelcast')} on {python}, {sys.platform} {platform.machine()}."
    unmet = sorted(missing_libraries(metadata("modelcast").get_all("Requires-Dist") or []))
    if unmet:
        yield problem(
            "python", f"{text} Libraries are missing or too old: {', '.join(unmet)}.", "Run: pip install --upgrade modelcast",
            libraries=unmet,
        )
        return
    yield fine("python", text, python=platform.python_version(), modelcast=version("modelcast"))


def missing_libraries(required: list[str]) -> Iterator[str]:
    """Yield what modelcast needs and is not installed in a version that will do; what extras bring does not count."""
    for line in required:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield f"{requirement.name} (not installed)"
            continue
        if not requirement.specifier.contains(found, prereleases=True):
            yield f"{requirement.name} {found} (needed is {requirement.specifier})"


def _keys(case: Case) -> Iterator[Finding]:
    if not case.keys and not case.trust:
        return
    from modelcast.shared.keyfiles import load_signing_key, load_trusted_keys  # noqa: PLC0415 - loads cryptography

    trusted: list[TrustedKey] = []
    for name in case.trust:
        try:
            keys = load_trusted_keys(name)
        except ModelcastError as error:
            yield finding_of("trust", error)
            continue
        trusted += keys
        yield from _judge_trust(Path(name), keys, case)
    ring = KeyRing(trusted)
    for name in case.keys:
        try:
            key = load_signing_key(name)
        except ModelcastError as error:
            yield finding_of("key", error)
            continue
        yield fine("key", f"{name} is a private key that its owner alone can read: {key.key_id}.", key=key.key_id)
        if case.trust and key.key_id not in {known.key_id for known in ring.keys}:
            yield problem(
                "key", f"What {name} signs is refused by whoever trusts {', '.join(case.trust)} only.",
                "Add its public half to what the applications trust.", key=key.key_id,
            )


def _judge_trust(path: Path, keys: list[TrustedKey], case: Case) -> Iterator[Finding]:
    listed, ids = ", ".join(key.key_id for key in keys), [key.key_id for key in keys]
    facts = path.stat()
    if facts.st_mode & 0o022 or facts.st_uid not in {os.geteuid(), 0}:
        yield warning(
            "trust", f"Others may write to {path}: whoever does decides what code runs here.",
            f"Run: chmod go-w {path} (and chown it to the application's user or root)", keys=ids,
        )
    else:
        yield fine("trust", f"{path} is trusted: {listed}.", keys=ids)
    if case.model is None:
        return
    lacks = [f"manifests of {case.model}"] if not any(key.may_sign_manifests_of(case.model) for key in keys) else []
    lacks += [f"orders for {case.channel}"] if not any(key.may_sign_orders_for(case.channel) for key in keys) else []
    for what in lacks:
        yield warning("trust", f"No key of {path} may sign {what}.", "Say so in the ring, or trust another key, too.", keys=ids)
