"""Whether a trusted order may be carried out here: pure rules, all decided before one byte is fetched.

Decides expiry, sequence, version, format, size and environment, in this order. The world comes in as arguments: what the
instance runs, what it accepts, what the host has, what time it is. Imports policy, trust and names.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from modelcast.consumer.policy import Dependencies, Policy
from modelcast.consumer.trust import TrustedOrder
from modelcast.shared.errors import SenderFault
from modelcast.shared.manifest import Environment, Manifest
from modelcast.shared.names import Version
from modelcast.shared.reasons import Reason


@dataclass(frozen=True, slots=True)
class Standing:
    """What an instance runs and has run; survives a restart.

    Attributes:
        sequence: Sequence of the last order that was carried out; 0 for none.
        floor: Highest version promoted here since the last rollback, or None.
        active_release: Release id of the active model, or None.
        identities: Artifact identity of every version that is known here.
        ordered_release: Release that the last order was for, also when it cannot be loaded now; None when it was lost to damage.
        bad: Release ids that crashed their process at start.
    """

    sequence: int = 0
    floor: Version | None = None
    active_release: str | None = None
    identities: tuple[tuple[str, bytes], ...] = ()
    ordered_release: str | None = None
    bad: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Host:
    """What this host has.

    Attributes:
        python: Full version of Python.
        implementation: ``cpython``, …
        installed: Returns the installed version of a distribution, or None.
        formats: Formats that a loader is there for.
    """

    python: str
    implementation: str
    installed: Callable[[str], str | None]
    formats: frozenset[str]


class Ruling(Enum):
    """What to do with an order that breaks no rule."""

    CARRY_OUT = auto()
    STALE = auto()
    """It was carried out already, or a later one was: it does nothing."""


def rule(trusted: TrustedOrder, standing: Standing, policy: Policy, host: Host, *, now_ms: int) -> Ruling:
    """Decide whether an order may be carried out.

    Args:
        trusted: The order.
        standing: What the instance runs.
        policy: What the application accepts.
        host: What the host has.
        now_ms: The time, milliseconds since 1970 UTC.

    Raises:
        SenderFault: A rule forbids it; the facts hold both sides.
    """
    order = trusted.order
    if order.sequence < standing.sequence or _was_carried_out(trusted, standing):
        return Ruling.STALE
    if order.expires_ms is not None and now_ms > order.expires_ms:
        late_ms = now_ms - order.expires_ms
        raise SenderFault(
            Reason.EXPIRED, f"The order expired {late_ms / 1000:.0f} s ago.", facts={"expires_ms": order.expires_ms, "now_ms": now_ms}
        )
    _check_version(trusted, standing, policy)
    check_environment(trusted.manifest, policy, host)
    _check_artifact(trusted, policy, host)
    return Ruling.CARRY_OUT


def _was_carried_out(trusted: TrustedOrder, standing: Standing) -> bool:
    sequence = trusted.order.sequence
    if sequence != standing.sequence and not _is_of_the_same_rollout(trusted, standing):
        return False
    if trusted.release in standing.bad:
        raise SenderFault(
            Reason.LOAD_FAILED, "This release was taken out of service: it ended the process at its start, or was reported as bad.",
            hint="A new order for it is tried again.", facts={"release": trusted.release},
        )
    if standing.ordered_release not in {None, trusted.release}:
        raise SenderFault(
            Reason.SEQUENCE_CONFLICT, f"Order {sequence} was carried out here for another release.",
            facts={"sequence": sequence, "order": trusted.release, "carried_out": standing.ordered_release},
        )
    return standing.ordered_release is not None


def _is_of_the_same_rollout(trusted: TrustedOrder, standing: Standing) -> bool:
    """Whether an earlier wave of the rollout was for this instance, and it has decided on the release."""
    began = trusted.order.rollout
    decided = trusted.release == standing.ordered_release or trusted.release in standing.bad
    return began is not None and began <= standing.sequence and decided


def floor_after(trusted: TrustedOrder, floor: Version | None) -> Version:
    """Return the floor after an order was carried out: a promotion never lowers it, a rollback sets it to its own version.

    It must not stay up: an instance that was away during the rollback never saw the higher version, and would take a version
    between the two that the others refuse.
    """
    if floor is None or trusted.is_rollback or not trusted.version.precedes(floor):
        return trusted.version
    return floor


def _check_version(trusted: TrustedOrder, standing: Standing, policy: Policy) -> None:
    version, floor = trusted.version, standing.floor
    known = dict(standing.identities).get(version.text)
    if known is not None and known != trusted.manifest.artifact.identity:
        raise SenderFault(
            Reason.VERSION_CONFLICT, f"Version {version} is known here with other bytes.",
            facts={"known": known.hex(), "order": trusted.manifest.artifact.identity.hex()},
        )
    if not policy.accept.allows(version):
        raise SenderFault(
            Reason.VERSION_OUT_OF_RANGE, f"Version {version} is not in the accepted range {policy.accept}.",
            facts={"version": version.text, "accept": policy.accept.text},
        )
    if trusted.is_rollback or floor is None or trusted.release == standing.active_release:
        return
    if version.precedes(floor):
        raise SenderFault(
            Reason.VERSION_DOWNGRADE, f"Version {version} is below {floor}, the highest version promoted here.",
            facts={"version": version.text, "floor": floor.text},
        )


def _check_artifact(trusted: TrustedOrder, policy: Policy, host: Host) -> None:
    artifact = trusted.manifest.artifact
    if artifact.format not in policy.formats:
        raise SenderFault(
            Reason.FORMAT_NOT_ALLOWED, f"Format {artifact.format!r} is not allowed here.",
            facts={"format": artifact.format, "allowed": list(policy.formats)},
        )
    if artifact.loader not in host.formats:
        raise SenderFault(
            Reason.INCOMPATIBLE_ENVIRONMENT, f"No loader {artifact.loader!r} is here, or the library it needs is missing.",
            facts={"loader": artifact.loader, "available": sorted(host.formats)},
        )
    if artifact.size > policy.max_artifact_bytes:
        raise SenderFault(
            Reason.TOO_LARGE, f"The artifact has {artifact.size} bytes; at most {policy.max_artifact_bytes} are taken here.",
            facts={"size": artifact.size, "limit": policy.max_artifact_bytes},
        )


def check_environment(manifest: Manifest, policy: Policy, host: Host) -> None:
    """Raise SenderFault when a release was made with another Python, or with other libraries than the policy takes for alike."""
    built: Environment = manifest.environment
    if manifest.artifact.format == "cloudpickle":
        # cloudpickle: "the exact same version of Python"; in practice bytecode changes with the minor version
        wanted, here = (built.implementation, _minor(built.python)), (host.implementation, _minor(host.python))
        if wanted != here:
            raise SenderFault(
                Reason.INCOMPATIBLE_ENVIRONMENT, f"The model was pickled by {' '.join(wanted)}; here runs {' '.join(here)}.",
                facts={"built_with": f"{built.implementation} {built.python}", "here": f"{host.implementation} {host.python}"},
            )
    if policy.dependencies is Dependencies.IGNORE:
        return
    problems = {
        name: f"built with {version}, here {host.installed(name) or 'not installed'}"
        for name, version in built.dependencies.items()
        if not _is_alike(version, host.installed(name), policy.dependencies)
    }
    if problems:
        listed = "; ".join(f"{name} {text}" for name, text in sorted(problems.items()))
        raise SenderFault(Reason.INCOMPATIBLE_ENVIRONMENT, f"Libraries differ: {listed}.", facts={"libraries": problems})


def _is_alike(built: str, here: str | None, rule_: Dependencies) -> bool:
    if here is None:
        return False
    if rule_ is Dependencies.INSTALLED:
        return True
    return built == here if rule_ is Dependencies.EXACT else _minor(built) == _minor(here)


def _minor(version: str) -> str:
    """Return major and minor version of any version text."""
    return ".".join(version.split(".")[:2])
