"""How the demo ends: what happened as one record, what is wrong with it, the table and the JSON object.

Decides what counts as going as it should. Imports the traffic's counts, what
chapters leave behind, and the reasons; reads nothing, waits for nothing.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from modelcast.publisher.demo.outcomes import Told
from modelcast.publisher.demo.traffic import Counts
from modelcast.shared.cli.output import Output, printable
from modelcast.shared.reasons import Reason

FIRST_INSTANCES = 3
GOOD_VERSIONS = ("1.0.0", "1.1.0")
BAD_RELEASES = {
    "1.2.0": Reason.CHUNK_DAMAGED,
    "1.3.0": Reason.SAMPLES_NOT_REPRODUCED,
    "2.0.0": Reason.VERSION_OUT_OF_RANGE,
    "1.4.0": Reason.UNKNOWN_KEY,
}
"""What must be rejected, and why; in the order of the story."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one release.

    Attributes:
        version: Its version.
        what: What it is, in words.
        promoted: Instances that promoted it.
        rejected: Instances that rejected it, each with the code of the reason.
        messages: Their own words, by instance.
        serving: The version that each instance answered with afterwards.
        seconds: From the call of ``publish`` to the last verdict.
    """

    version: str
    what: str
    promoted: tuple[str, ...]
    rejected: dict[str, str]
    messages: dict[str, str]
    serving: dict[str, str | None]
    seconds: float


@dataclass(frozen=True, slots=True)
class Return:
    """How an instance came back, or came late.

    Attributes:
        instance: Which.
        version: What it answered with.
        milliseconds: From the start of its process to its first right answer.
        connections: How many connections it had had to the road by then.
        connected: Whether it was connected in the end.
    """

    instance: str
    version: str | None
    milliseconds: float
    connections: int
    connected: bool


@dataclass(slots=True)
class Record:
    """Everything that happened.

    Attributes:
        model: Name of the model.
        trials: The releases, in order.
        restart: How the killed instance came back.
        late: How the late instance caught up.
        expected: The chapters that were told though they may be left out.
        told: What each of those left behind.
        dead_letters: The dead letters of this run, as ``modelcast dead-letters list --json`` gives them.
        counts: What was counted at each instance.
        seconds: Length of the whole story.
    """

    model: str
    trials: list[Trial] = field(default_factory=list[Trial])
    restart: Return | None = None
    late: Return | None = None
    expected: list[str] = field(default_factory=list[str])
    told: dict[str, Told] = field(default_factory=dict[str, Told])
    dead_letters: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    counts: dict[str, Counts] = field(default_factory=dict[str, Counts])
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        """Requests to all instances."""
        return sum(counts.requests for counts in self.counts.values())

    @property
    def failed(self) -> int:
        """Failed requests of all instances."""
        return sum(counts.failed for counts in self.counts.values())

    @property
    def by_version(self) -> dict[str, int]:
        """Right answers by version."""
        return dict(sorted(sum((counts.by_version for counts in self.counts.values()), Counter[str]()).items()))

    @property
    def longest_ms(self) -> float:
        """The longest request of all."""
        return max((counts.longest_ms for counts in self.counts.values()), default=0.0)


def problems(record: Record) -> list[str]:
    """Return what did not go as it should, in words; empty when everything did."""
    found = [f"{name}: {problem}" for name, counts in record.counts.items() for problem in counts.problems]
    if record.failed or not record.requests:
        found.append(f"{record.failed} of {record.requests} requests failed")
    trials = {trial.version: trial for trial in record.trials}
    for version in GOOD_VERSIONS:
        trial = trials.get(version)
        if trial is None or len(trial.promoted) != FIRST_INSTANCES:
            found.append(f"{version} was not promoted by all {FIRST_INSTANCES} instances")
        if not record.by_version.get(version):
            found.append(f"no request was answered by {version}")
    for version, reason in BAD_RELEASES.items():
        trial = trials.get(version)
        if trial is None or list(trial.rejected.values()) != [reason.value] * FIRST_INSTANCES:
            found.append(f"{version} was not rejected by all {FIRST_INSTANCES} instances as {reason.value}")
        if trial is not None and set(trial.serving.values()) != {GOOD_VERSIONS[-1]}:
            found.append(f"after {version} the instances served {trial.serving}")
    return found + _problems_of_returns(record) + _problems_of_chapters(record) + _problems_of_letters(record)


def _problems_of_returns(record: Record) -> list[str]:
    found: list[str] = []
    restart, late = record.restart, record.late
    if restart is None or restart.version != GOOD_VERSIONS[-1] or restart.connections:
        found.append("the killed instance did not serve its last good model before it had a connection")
    if late is None or late.version != GOOD_VERSIONS[-1]:
        found.append("the late instance did not catch up")
    found += [f"{back.instance} is not connected" for back in (restart, late) if back is not None and not back.connected]
    return found


def _problems_of_chapters(record: Record) -> list[str]:
    found = [f"the chapter {name} left nothing behind" for name in record.expected if name not in record.told]
    return found + [problem for told in record.told.values() for problem in told.problems()]


def _problems_of_letters(record: Record) -> list[str]:
    wanted = {(trial.version, name, reason) for trial in record.trials for name, reason in trial.rejected.items()}
    there = {(letter.get("version"), letter.get("instance"), letter.get("reason")) for letter in record.dead_letters}
    missing = len(wanted - there)
    return [f"{missing} of {len(wanted)} rejections have no dead letter"] if missing else []


def document(record: Record, found: list[str]) -> dict[str, Any]:
    """Return the JSON object that ``modelcast demo --json`` ends with."""
    promotions = [trial for trial in record.trials if trial.promoted]
    return {
        "ok": not found,
        "problems": found,
        "model": record.model,
        "instances": [{"instance": name, **_counted(counts)} for name, counts in record.counts.items()],
        "promoted": [
            {"version": trial.version, "instances": list(trial.promoted), "seconds": round(trial.seconds, 3)} for trial in promotions
        ],
        "rejected": [
            {
                "version": trial.version, "what": trial.what, "reason": "/".join(sorted(set(trial.rejected.values()))),
                "instances": [
                    {"instance": name, "reason": reason, "message": trial.messages.get(name)}
                    for name, reason in trial.rejected.items()
                ],
                "served_on": trial.serving,
            }
            for trial in record.trials if trial.rejected
        ],
        "requests": record.requests,
        "failed_requests": record.failed,
        "answers_by_version": record.by_version,
        "longest_request_ms": round(record.longest_ms, 1),
        "seconds_from_publish_to_last_promotion": round(max((trial.seconds for trial in promotions), default=0.0), 3),
        "restart": _returned(record.restart),
        "late": _returned(record.late),
        "chapters": {name: told.to_dict() for name, told in record.told.items()},
        "dead_letters": [
            {key: letter.get(key) for key in ("id", "version", "instance", "reason", "message")} for letter in record.dead_letters
        ],
        "seconds": round(record.seconds, 1),
    }


def _counted(counts: Counts) -> dict[str, Any]:
    return {
        "version": counts.latest_version, "requests": counts.requests, "failed_requests": counts.failed,
        "answers_by_version": dict(counts.by_version), "longest_request_ms": round(counts.longest_ms, 1),
    }


def _returned(back: Return | None) -> dict[str, Any] | None:
    if back is None:
        return None
    return {
        "instance": back.instance, "version": back.version, "ms_from_start_to_first_answer": round(back.milliseconds),
        "connections_before_first_answer": back.connections, "connected": back.connected,
    }


def draw(record: Record, found: list[str], output: Output) -> None:
    """Print the tables and the last sentence."""
    output.data("")
    output.table(
        ("release", "what it is", "promoted by", "rejected by", "reason", "seconds"),
        [
            (
                trial.version, trial.what, len(trial.promoted) or "-", len(trial.rejected) or "-",
                ", ".join(sorted(set(trial.rejected.values()))) or "-", f"{trial.seconds:.2f}",
            )
            for trial in record.trials
        ],
    )
    rows = [*record.counts.items(), ("all", Counts(record.requests, record.failed, Counter(record.by_version), record.longest_ms))]
    versions = list(record.by_version)
    output.table(
        ("instance", "requests", "failed", *(f"by {version}" for version in versions), "longest request", "serves now"),
        [
            (
                name, counts.requests, counts.failed, *(counts.by_version[version] for version in versions),
                f"{counts.longest_ms:.1f} ms", counts.latest_version or "",
            )
            for name, counts in rows
        ],
    )
    if found:
        output.data("Not everything went as it should:")
        for problem in found:
            output.data(f"  {printable(problem)}")
        return
    output.data(
        f"{record.requests} requests, {record.failed} failed; {len(record.dead_letters)} dead letters explained; "
        f"{record.seconds:.0f} s. Everything went as it should."
    )
