"""The judge of a run: what was published and by whom it was confirmed, what each instance wrote down, what was reported, what died.

Pure: evidence in, violations out. It asks, whatever was done to the processes, the network, the disks and the broker meanwhile:
nothing served that was not published, no version goes down without a rollback, no request failed or saw another model's weights, no
moment without a model once there was one, a verdict for each order that came to a queue, never two that contradict each other, a dead
letter for each rejection and a reason for each dead letter, and threads, descriptors, memory and disk back to where they were.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from semver import Version

from modelcast.shared.report import Report, Verdict

MORE_THREADS, MORE_DESCRIPTORS, MORE_BYTES = 1, 4, 32 * 1024 * 1024
"""How much more a process may have at its end than when it first served: a thread that waits for work, a connection more."""


@dataclass(slots=True)
class Attempt:
    """One version that somebody tried to publish, as often as it took.

    Attributes:
        version: The version.
        is_good: Whether instances can take it.
        order: Identity of its order, once a publisher was told that all was confirmed.
        addressed: Instances whose queues were there before the attempt: they must decide.
        tries: How often it was tried.
    """

    version: str
    is_good: bool = True
    order: str | None = None
    addressed: frozenset[str] = frozenset()
    tries: int = 0


@dataclass(slots=True)
class Evidence:
    """All that is known of a run.

    Attributes:
        attempts: What was published, by version.
        histories: What each instance wrote down, over all its processes.
        reports: All verdicts that the broker keeps.
        letters: Instance and order of each dead letter.
        stores: What lies in each store at the end: paths below the folder of the channel.
        steps_down: Versions from which and to which an instance may go back: rollbacks, and releases that ended their process.
        lost: Instances that somebody took an order from: their queues, or the streams of reports and dead letters, were deleted.
    """

    attempts: dict[str, Attempt] = field(default_factory=dict)
    histories: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    reports: list[Report] = field(default_factory=list)
    letters: list[tuple[str, str]] = field(default_factory=list)
    stores: dict[str, list[str]] = field(default_factory=dict)
    steps_down: set[tuple[str, str]] = field(default_factory=set)
    lost: set[str] = field(default_factory=set)


def violations(evidence: Evidence) -> list[str]:
    """Return what is wrong, a sentence each."""
    found: list[str] = []
    for name, events in evidence.histories.items():
        found += (f"{name} {text}" for text in _of_history(evidence, events))
    found += _of_verdicts(evidence)
    for name, paths in evidence.stores.items():
        found += (f"{name} {text}" for text in _of_store(paths))
    return found


def _of_history(evidence: Evidence, events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    before: str | None = None
    for event in events:
        match event["kind"]:
            case "serves":
                version = event["version"]
                attempt = evidence.attempts.get(version)
                if attempt is None:
                    yield f"serves {version}, which nobody published"
                elif not attempt.is_good:
                    yield f"serves {version}, which it should have refused"
                if before and Version.parse(version) < Version.parse(before) and (before, version) not in evidence.steps_down:
                    yield f"went from {before} down to {version}"
                before = version
            case "failed" | "wrong" | "unserved":
                yield f"{event['kind']}: { {key: value for key, value in event.items() if key not in {'kind', 'pid'}} }"
            case "stopped" if event["threads"] > 1:
                yield f"left {event['threads'] - 1} threads behind"
    yield from _of_resources(events)


def _of_resources(events: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    first: dict[int, Mapping[str, Any]] = {}
    for event in events:
        if event["kind"] == "resources" and event["when"] == "first":
            first[event["pid"]] = event
        elif event["kind"] == "resources" and event["is_at_rest"] and event["pid"] in first:
            begin = first[event["pid"]]
            for what, more in (("threads", MORE_THREADS), ("descriptors", MORE_DESCRIPTORS), ("private_bytes", MORE_BYTES)):
                if what in begin and event[what] > begin[what] + more:
                    yield f"had {begin[what]} {what} and has {event[what]}"


def _of_verdicts(evidence: Evidence) -> Iterator[str]:
    said: dict[tuple[str, str], set[Verdict]] = defaultdict(set)
    for report in evidence.reports:
        if report.order is not None and report.verdict is not None:
            said[report.instance, report.order].add(report.verdict)
            attempt = evidence.attempts.get(report.version or "")
            if report.verdict is Verdict.PROMOTED and (attempt is None or not attempt.is_good):
                yield f"{report.instance} promoted {report.version}"
            if report.verdict is Verdict.REJECTED and attempt is not None and attempt.is_good:
                yield f"{report.instance} rejected {report.version}, which is good: {report.reason}: {report.message}"
    for (name, order), verdicts in said.items():
        if {Verdict.PROMOTED, Verdict.REJECTED} <= verdicts:
            yield f"{name} promoted and rejected the order {order[:12]}"
    letters = set(evidence.letters)
    for attempt in evidence.attempts.values():
        for name in attempt.addressed - evidence.lost if attempt.order else ():
            verdicts = said.get((name, attempt.order or ""), set())
            if not verdicts:
                yield f"{name} never decided on {attempt.version}"
            if verdicts == {Verdict.REJECTED} and (name, attempt.order) not in letters:
                yield f"{name} rejected {attempt.version} and there is no dead letter"
    for name, order in letters:
        if Verdict.REJECTED not in said.get((name, order), ()) and name not in evidence.lost:
            yield f"{name} let the order {order[:12]} die without a reason"


def _of_store(paths: Sequence[str]) -> Iterator[str]:
    releases = {path.split("/")[1] for path in paths if path.startswith("releases/")}
    if len(releases) > 2:
        yield f"keeps {len(releases)} releases"
    for path in paths:
        if path.startswith(("incoming/", "journal/report-")) or "/.tmp-" in f"/{path}" or path == "journal/trying":
            yield f"left {path} behind"
