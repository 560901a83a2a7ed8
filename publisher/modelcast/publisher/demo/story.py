"""The story from beginning to end: sets the stage, plays the chapters in order, clears everything away.

Decides what is left behind: nothing, unless it was asked for. Ends only processes that it started. Imports the chapters.
"""

import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from modelcast.publisher.demo import chapters
from modelcast.publisher.demo.closing import FIRST_INSTANCES, Record
from modelcast.publisher.demo.instances import Instance, Setting
from modelcast.publisher.demo.stage import Narrator, Stage
from modelcast.publisher.demo.traffic import Caller, Exam
from modelcast.publisher.demo.training import School
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.cli.output import Output
from modelcast.shared.depot.depot import Depot
from modelcast.shared.errors import BrokerMissing, HostFault
from modelcast.shared.keyfiles import generate
from modelcast.shared.localbroker.chooser import RunningBroker, choose_broker
from modelcast.shared.localbroker.host import default_state_dir
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.roads import open_road

DEFAULT_CHANNEL = "production"
ROADS = ("auto", "rabbitmq", "file")
CHAPTERS = (
    chapters.first_model, chapters.better_model, chapters.damaged_on_the_way, chapters.wrong_elsewhere, chapters.forbidden_version,
    chapters.unknown_key, chapters.killed, chapters.late, chapters.dead_letters,
)


def tell_story(output: Output, *, requests_per_second: float, keep: bool, road: str = "auto") -> Record:
    """Play the whole story.

    Args:
        output: Where it is told.
        requests_per_second: How often each instance is asked.
        road: One of ``ROADS``: RabbitMQ, a shared directory, or (``auto``) RabbitMQ where it can be had.
        keep: Whether folder, broker and what the story left on it stay.

    Returns:
        What happened.

    Raises:
        HostFault: The broker or an instance failed in a way that the story does not tell.
    """
    narrator = Narrator(output)
    with ExitStack() as cleanup:
        narrator.chapter("The stage")
        folder = cleanup.enter_context(_folder(narrator, keep=keep))
        url = cleanup.enter_context(_road(narrator, folder, road, keep=keep))
        stage = _set_up(narrator, folder, url, requests_per_second)
        if not keep:
            cleanup.callback(_retire, stage)   # after the instances, which would make their queues again
        cleanup.callback(_stop_all, stage.instances)
        chapters.three_instances(stage)
        for number, play in enumerate(CHAPTERS, 1):
            narrator.number = number
            play(stage)
        chapters.end_of_requests(stage)
    stage.record.seconds = narrator.elapsed
    return stage.record


def _set_up(narrator: Narrator, folder: Path, url: str, requests_per_second: float) -> Stage:
    model = f"demo-{secrets.token_hex(3)}"
    key, public = generate(folder / "keys" / "training")
    stranger, _ = generate(folder / "keys" / "stranger")
    school = School()
    exam = Exam(school.questions)
    setting = Setting(url, model, public, folder)
    instances = [
        Instance(f"instance-{number}", setting, Caller(exam, requests_per_second)) for number in range(1, FIRST_INSTANCES + 2)
    ]
    record = Record(model, counts={instance.name: instance.caller.counts for instance in instances})
    place = "the shared directory" if url.startswith("file:") else "the broker"
    return Stage(url, place, model, key, stranger, school, exam, instances, narrator, record, max(1, round(requests_per_second * 0.6)))


@contextmanager
def _folder(narrator: Narrator, *, keep: bool) -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="modelcast-demo-"))
    narrator.say(f"Stores, keys and logs are in {folder}{' and stay there' if keep else '; it is removed at the end'}.")
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _road(
    narrator: Narrator, folder: Path, road: str, *, keep: bool, choose: Callable[..., RunningBroker] = choose_broker
) -> Generator[str]:
    if road != "file":
        try:
            with _broker(narrator, keep=keep, choose=choose) as url:
                yield url
                return
        except BrokerMissing as error:
            if road != "auto":
                raise
            narrator.say(f"{error} So a shared directory carries the releases. For the main road: {error.hint}")
    depot = folder / "depot"
    depot.mkdir(mode=0o700)
    Depot(depot).enter()
    narrator.say(f"The road is a directory that all share, {depot}; there is no broker.")
    yield f"file://{quote(str(depot))}"


@contextmanager
def _broker(narrator: Narrator, *, keep: bool, choose: Callable[..., RunningBroker]) -> Generator[str]:
    began, node = time.monotonic(), PrivateNode(default_state_dir())
    was_running = node.status().running
    try:
        chosen = choose(note=narrator.say)
    except BaseException:
        if not was_running:
            node.stop()   # Ctrl-C while it starts would leave it running for good
        raise
    if chosen.started_here:
        narrator.say(f"It was started in {time.monotonic() - began:.1f} s: {BrokerUrl.parse(chosen.url)}")
    try:
        yield chosen.url
    finally:
        if chosen.started_here and chosen.kind == "node" and not keep:
            node.stop()
        elif chosen.started_here:
            stop = "modelcast broker stop" if chosen.kind == "node" else "docker compose -f docker-compose.rabbitmq.yml down"
            narrator.say(f"The broker goes on. It is stopped by: {stop}")


def _retire(stage: Stage) -> None:
    """Leave the broker as it was found; reports stay, the broker drops them after seven days."""
    with suppress(HostFault):   # it may be gone; then so is what was on it
        open_road(stage.url).retire(stage.model, DEFAULT_CHANNEL, [instance.name for instance in stage.instances])


def _stop_all(instances: list[Instance]) -> None:
    for instance in instances:
        instance.end_soon()
    for instance in instances:
        instance.stop()
