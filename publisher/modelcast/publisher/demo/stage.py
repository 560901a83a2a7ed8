"""What the chapters share: the narrator's voice, and the stage with everything that stands on it.

Decides how the story looks on a terminal. Imports the other parts of the demo and the publisher.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelcast.publisher.demo.closing import FIRST_INSTANCES, Record, Trial
from modelcast.publisher.demo.instances import Instance
from modelcast.publisher.demo.patience import until
from modelcast.publisher.demo.traffic import Exam
from modelcast.publisher.demo.training import DATASET, School, Trained
from modelcast.publisher.operator import Operator
from modelcast.publisher.publication import Publication
from modelcast.publisher.publisher import Publisher
from modelcast.shared.cli.output import Output, as_size, printable
from modelcast.shared.limits import KIB
from modelcast.shared.report import Report, Verdict
from modelcast.shared.road import Road

PRODUCTION, STAGING, CANDIDATES = "production", "staging", "candidates"
"""The channels; nobody follows the last one: what is there was published and may be promoted."""
VERDICT_SECONDS = 60.0
ANSWERS_SECONDS = 60.0
CHUNK_BYTES = 64 * KIB
"""Small, so that a small model has several chunks."""


class Narrator:
    """Tells the story: headings, and sentences with the time.

    Args:
        output: Where it is told.
    """

    def __init__(self, output: Output) -> None:
        self._output, self._began = output, time.monotonic()
        self.number = 0

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def chapter(self, title: str) -> None:
        """Begin a chapter."""
        self._output.data(f"\n{self.number}  {title}")

    def say(self, text: str) -> None:
        """Say a sentence, with the time since the beginning."""
        self._output.data(f"  {self.elapsed:5.1f} s  {printable(text)}")


@dataclass(slots=True)
class Stage:
    """Everything that the chapters play with.

    Attributes:
        url: Address of the road.
        unguarded_url: Where bytes can be put that nobody looks at before the instances do; a server would refuse damaged ones.
        place: What carries the releases, in words: ``the broker``, ``the shared directory``, ``the server``.
        model: Name of the model.
        key: The private key that the instances trust.
        stranger: A private key that nobody trusts.
        school: Trains models.
        exam: Questions, and the right answers by version.
        instances: The instances of production; the last one is started late.
        staging: The instance of staging, which the chapter about it starts.
        narrator: Tells the story.
        record: What happened so far.
        breath: So many answers of each instance are waited for between two events, so that each is seen under load.
    """

    url: str
    unguarded_url: str
    place: str
    model: str
    key: Path
    stranger: Path
    school: School
    exam: Exam
    instances: list[Instance]
    staging: Instance
    narrator: Narrator
    record: Record
    breath: int

    @property
    def first(self) -> list[Instance]:
        """The instances that are there from the beginning."""
        return self.instances[:FIRST_INSTANCES]

    def publish(
        self, version: str, what: str, trained: Trained, *, road: Road | None = None, key: Path | None = None
    ) -> Trial:
        """Publish a release to production, tell the verdicts as they come, and note what became of it.

        Args:
            version: Its version.
            what: What it is, in words.
            trained: The model.
            road: Another way than the straight one.
            key: Another key than the trusted one.
        """
        verdicts = self.send(version, trained, instances=FIRST_INSTANCES, road=road, key=key)
        trial = verdicts.trial(what, self.serving([*verdicts.promoted, *verdicts.rejected]))
        self.record.trials.append(trial)
        return trial

    def send(
        self, version: str, trained: Trained, *, instances: int, channel: str = PRODUCTION, road: Road | None = None,
        key: Path | None = None,
    ) -> "Verdicts":
        """Publish a release and tell the verdicts as they come.

        Args:
            version: Its version.
            trained: The model.
            instances: How many verdicts are waited for.
            channel: Where it goes.
            road: Another way than the straight one.
            key: Another key than the trusted one.
        """
        publisher = Publisher(road or self.url, signing_key=key or self.key, chunk_bytes=CHUNK_BYTES)
        return self.follow(
            publisher, lambda: self.publish_only(version, trained, publisher=publisher, channel=channel), instances=instances
        )

    def publish_only(
        self, version: str, trained: Trained, *, publisher: Publisher | None = None, channel: str = PRODUCTION
    ) -> Publication:
        """Publish a release and say nothing.

        Args:
            version: Its version.
            trained: The model.
            publisher: Another publisher than an honest one with the trusted key.
            channel: Where it goes.
        """
        publisher = publisher or Publisher(self.url, signing_key=self.key, chunk_bytes=CHUNK_BYTES)
        return publisher.publish(
            trained.model, model=self.model, version=version, channel=channel, samples=self.school.samples(trained.model),
            training=trained.parameters, metrics={"accuracy": trained.accuracy}, lineage={"dataset": DATASET},
        )

    def follow(self, waiter: Publisher | Operator, order: Callable[[], Publication], *, instances: int) -> "Verdicts":
        """Order something, and tell the order and the verdicts on it as they come.

        Args:
            waiter: Waits for the verdicts.
            order: Orders it.
            instances: How many verdicts are waited for.
        """
        began, last = time.monotonic(), 0.0
        publication = order()
        self.narrator.say(ordered(publication, time.monotonic() - began))

        def on_verdict(report: Report) -> None:
            """Tell a verdict as it comes, and remember when."""
            nonlocal last
            last = time.monotonic() - began
            self.narrator.say(told(report))

        outcome = waiter.wait(publication, instances=instances, timeout_seconds=VERDICT_SECONDS, on_verdict=on_verdict)
        return Verdicts(publication, outcome.promoted, outcome.rejected, last)

    def latest(self, name: str) -> str | None:
        """Return the version that an instance answered with last."""
        return next((each.caller.counts.latest_version for each in self.instances if each.name == name), None)

    def serving(self, names: Collection[str]) -> dict[str, str | None]:
        """Return the version that each of the instances answers with now, after each was asked some more."""
        chosen = [instance for instance in self.instances if instance.name in names]
        self.breathe(chosen)
        return {instance.name: instance.caller.counts.latest_version for instance in chosen}

    def breathe(self, instances: Sequence[Instance]) -> None:
        """Wait until each of the instances was asked some more."""
        goals = [(instance.caller.counts, instance.caller.counts.requests + self.breath) for instance in instances]
        until(
            lambda: all(counts.requests >= goal for counts, goal in goals), seconds=ANSWERS_SECONDS + self.breath,
            what="requests go on at every instance",
        )


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What instances decided on one order.

    Attributes:
        publication: What was ordered.
        promoted: Reports of instances that promoted it, by instance.
        rejected: Reports of instances that rejected it, by instance.
        seconds: From the call that ordered it to the last verdict.
    """

    publication: Publication
    promoted: dict[str, Report]
    rejected: dict[str, Report]
    seconds: float

    def trial(self, what: str, serving: dict[str, str | None]) -> Trial:
        """Return it as a line of the table at the end.

        Args:
            what: What it was, in words.
            serving: The version that each instance answered with afterwards.
        """
        return Trial(
            self.publication.version, what, tuple(self.promoted),
            {name: report.reason or "" for name, report in self.rejected.items()},
            {name: report.message or "" for name, report in self.rejected.items()}, serving, self.seconds,
        )


def ordered(publication: Publication, seconds: float) -> str:
    """Return a publication as a sentence."""
    if not publication.sent_bytes:
        return f"Ordered {publication.version} for {publication.channel}: no byte of it was sent again; {seconds * 1000:.0f} ms."
    text = f"Published {publication.version}: {as_size(publication.sent_bytes)} sent"
    if publication.reused_bytes:
        text += f", {as_size(publication.reused_bytes)} were there already"
    return f"{text}; chunks first, the order last; {seconds * 1000:.0f} ms."


def told(report: Report) -> str:
    """Return a verdict as a sentence."""
    if report.verdict == Verdict.PROMOTED:
        stages = ", ".join(f"{name} {milliseconds:.0f}" for name, milliseconds in report.stages_ms.items())
        return f"{report.instance} promoted {report.version} ({stages} ms)."
    if report.verdict == Verdict.REJECTED:
        return f"{report.instance} rejected it: {report.reason}. {report.message}"
    return f"{report.instance}: {report.verdict}."
