"""The story from beginning to end: sets the stage, plays the chapters of the table of contents in order, clears everything away.

Decides what is left behind: nothing, unless it was asked for. Ends only processes that it started. Imports the chapters.
"""

import secrets
import shutil
import tempfile
from collections.abc import Collection, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from modelcast.publisher.demo import chapters
from modelcast.publisher.demo.closing import FIRST_INSTANCES, Record
from modelcast.publisher.demo.contents import without
from modelcast.publisher.demo.ground import Ground, prepare
from modelcast.publisher.demo.instances import Instance, Setting
from modelcast.publisher.demo.stage import CANDIDATES, PRODUCTION, STAGING, Narrator, Stage
from modelcast.publisher.demo.traffic import Caller, Exam
from modelcast.publisher.demo.training import School
from modelcast.shared.cli.output import Output
from modelcast.shared.errors import HostFault
from modelcast.shared.keyfiles import generate
from modelcast.shared.roads import open_road


def tell_story(
    output: Output, *, requests_per_second: float, keep: bool, road: str = "auto", skip: Collection[str] = ()
) -> Record:
    """Play the whole story.

    Args:
        output: Where it is told.
        requests_per_second: How often each instance is asked.
        road: What carries the releases, one of ``ground.ROADS``.
        keep: Whether folder, broker and what the story left on it stay.
        skip: Names of chapters that are left out, of ``contents.SKIPPABLE``.

    Returns:
        What happened.

    Raises:
        HostFault: The broker or an instance failed in a way that the story does not tell.
    """
    narrator = Narrator(output)
    with ExitStack() as cleanup:
        narrator.chapter("The stage")
        folder = cleanup.enter_context(_folder(narrator, keep=keep))
        ground = cleanup.enter_context(prepare(narrator, folder, road, keep=keep))
        stage = _set_up(narrator, folder, ground, requests_per_second)
        if not keep:
            cleanup.callback(_retire, stage)   # after the instances, which would make their queues again
        cleanup.callback(_stop_all, [*stage.instances, stage.staging])
        chapters.three_instances(stage)
        for narrator.number, chapter in enumerate(without(skip), 1):
            if chapter.is_skippable:
                stage.record.expected.append(chapter.name)
            chapter.play(stage)
        chapters.end_of_requests(stage)
    stage.record.seconds = narrator.elapsed
    return stage.record


def _set_up(narrator: Narrator, folder: Path, ground: Ground, requests_per_second: float) -> Stage:
    model = f"demo-{secrets.token_hex(3)}"
    key, public = generate(folder / "keys" / "training")
    stranger, _ = generate(folder / "keys" / "stranger")
    school = School()
    exam = Exam(school.questions)
    setting = Setting(ground.instances_url, model, public, folder)
    instances = [
        Instance(f"instance-{number}", setting, Caller(exam, requests_per_second)) for number in range(1, FIRST_INSTANCES + 2)
    ]
    staging = Instance("staging-1", replace(setting, channel=STAGING), Caller(exam, requests_per_second))
    record = Record(model, counts={instance.name: instance.caller.counts for instance in instances})
    breath = max(1, round(requests_per_second * 0.6))
    return Stage(
        ground.url, ground.unguarded_url, ground.place, model, key, stranger, school, exam, instances, staging, narrator, record,
        breath,
    )


@contextmanager
def _folder(narrator: Narrator, *, keep: bool) -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelcast-demo-"))
    narrator.say(f"Stores, keys and logs are in {folder}{' and stay there' if keep else '; it is removed at the end'}.")
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


def _retire(stage: Stage) -> None:
    """Leave the broker as it was found; reports stay, the broker drops them after seven days."""
    with suppress(HostFault):   # it may be gone; then so is what was on it
        road = open_road(stage.url)
        if stage.staging.name in stage.record.counts:
            road.retire(stage.model, STAGING, [stage.staging.name])
        if "waves" in stage.record.told:
            road.retire(stage.model, CANDIDATES, [])
        road.retire(stage.model, PRODUCTION, [instance.name for instance in stage.instances])


def _stop_all(instances: list[Instance]) -> None:
    for instance in instances:
        instance.end_soon()
    for instance in instances:
        instance.stop()
