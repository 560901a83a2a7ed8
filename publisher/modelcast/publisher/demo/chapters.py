"""The chapters of the demo's story. Each plays one event on the stage and notes what happened.

Decides the text and the order within a chapter; whether it went well is judged at the end. Imports the stage and its props.
"""

from typing import Any

from modelcast.publisher.demo.closing import GOOD_VERSIONS, Return
from modelcast.publisher.demo.damage import DamagingRoad
from modelcast.publisher.demo.instances import ACCEPT, Instance
from modelcast.publisher.demo.letters import dead_letters as read_dead_letters
from modelcast.publisher.demo.patience import until
from modelcast.publisher.demo.stage import ANSWERS_SECONDS, Stage
from modelcast.publisher.demo.training import HELD_OUT, Trained, needing_its_host, on_the_training_host
from modelcast.shared.errors import HostFault
from modelcast.shared.roads import open_road

CONNECT_SECONDS = 60.0
LETTERS_SECONDS = 30.0


def three_instances(stage: Stage) -> None:
    """Start the first instances."""
    narrator = stage.narrator
    for instance in stage.first:
        instance.start()
    for instance in stage.first:
        instance.call()
    pids = ", ".join(f"{instance.name} is process {instance.pid}" for instance in stage.first)
    narrator.say(f"Three instances of a web application: {pids}.")
    narrator.say(f"They serve the model {stage.model}, trust one key and accept versions {ACCEPT}.")
    narrator.say("Requests begin at an instance when its /ready says yes, as a load balancer does it. No model, no requests yet.")


def first_model(stage: Stage) -> None:
    """Publish 1.0.0."""
    stage.narrator.chapter("The first model: 1.0.0")
    trained = _train(stage, 120, seed=1)
    stage.exam.answers["1.0.0"] = stage.school.answers(trained.model)
    _promoted(stage, "1.0.0", "the first model", trained)
    stage.narrator.say("The first load is the longest: it imports scikit-learn. Nobody waits for it but the order.")
    stage.narrator.say("From here on every instance is asked all the time, and every answer is compared with the model's own.")


def better_model(stage: Stage) -> None:
    """Retrain and publish 1.1.0."""
    stage.narrator.chapter("A better model under load: 1.1.0")
    trained = _train(stage, 450, seed=2)
    stage.exam.answers["1.1.0"] = stage.school.answers(trained.model)
    _promoted(stage, "1.1.0", "retrained on more data", trained)


def damaged_on_the_way(stage: Stage) -> None:
    """Publish 1.2.0 through a road that flips a bit."""
    stage.narrator.chapter("A release whose bytes are damaged on the way: 1.2.0")
    trained = _train(stage, 440, seed=3)
    road = DamagingRoad(open_road(stage.unguarded_url))
    if stage.url == stage.unguarded_url:
        stage.narrator.say(f"The publisher is honest; between it and {stage.place} one bit of one chunk is flipped.")
    else:
        stage.narrator.say(f"{stage.place.capitalize()} would refuse bytes that are damaged; a disk does not: one bit flips there.")
    _rejected(stage, "1.2.0", "damaged on the way", trained, road=road)
    if not road.flipped:
        raise HostFault("No chunk was large enough to be damaged, so this chapter shows nothing.")


def wrong_elsewhere(stage: Stage) -> None:
    """Publish 1.3.0, which answers right on the training host only."""
    stage.narrator.chapter("A release that breaks its own sample answers: 1.3.0")
    sound = _train(stage, 445, seed=4)
    trained = Trained(needing_its_host(sound.model), sound.rows, sound.accuracy, sound.parameters)
    stage.narrator.say("Its calibration is in an environment variable of the training host. There it answers right, and is published.")
    with on_the_training_host():
        _rejected(stage, "1.3.0", "breaks its own samples", trained)


def forbidden_version(stage: Stage) -> None:
    """Publish 2.0.0, which the instances do not accept."""
    stage.narrator.chapter("A release that the version rule forbids: 2.0.0")
    trained = _train(stage, 450, seed=5)
    _rejected(stage, "2.0.0", f"outside {ACCEPT}", trained)


def unknown_key(stage: Stage) -> None:
    """Publish 1.4.0, signed by a key that nobody trusts."""
    stage.narrator.chapter("A release signed by an unknown key: 1.4.0")
    trained = _train(stage, 450, seed=6)
    _rejected(stage, "1.4.0", "signed by an unknown key", trained, key=stage.stranger)


def killed(stage: Stage) -> None:
    """Kill an instance and start it again without a way to the road."""
    narrator, victim = stage.narrator, stage.first[1]
    narrator.chapter(f"SIGKILL for {victim.name}")
    victim.caller.hold()
    narrator.say(f"The load balancer stops sending to {victim.name}; the others are asked as before.")
    narrator.say(f"Process {victim.pid} gets SIGKILL: no goodbye, nothing saved.")
    victim.kill()
    victim.start(connected=False)
    narrator.say(f"Started again as process {victim.pid}, with the way to {stage.place} closed.")
    back, how = _first_answer(victim), victim.status()
    narrator.say(
        f"Its first answer came {back.milliseconds:.0f} ms after the start of the process, from {back.version}; "
        f"connections to {stage.place} until then: {back.connections}."
    )
    narrator.say(f"What it says of itself: {how.get('detail')}")
    victim.let_through()
    stage.record.restart = _connected(stage, victim, back)
    stage.breathe(stage.first)


def late(stage: Stage) -> None:
    """Start another instance; nobody publishes."""
    narrator, newcomer = stage.narrator, stage.instances[-1]
    narrator.chapter(f"{newcomer.name} comes late; nobody publishes")
    newcomer.start()
    narrator.say(f"Process {newcomer.pid} starts with an empty store and reads what was ordered before it came.")
    back = _first_answer(newcomer)
    narrator.say(f"It answers with {back.version} {back.milliseconds:.0f} ms after the start of the process.")
    stage.breathe(stage.instances)
    until(
        lambda: newcomer.caller.counts.latest_version == GOOD_VERSIONS[-1], seconds=ANSWERS_SECONDS,
        what=f"{newcomer.name} serves {GOOD_VERSIONS[-1]}",
    )
    current = Return(back.instance, newcomer.caller.counts.latest_version, back.milliseconds, back.connections, connected=False)
    stage.record.late = _connected(stage, newcomer, current)
    status = newcomer.status()
    narrator.say(
        f"On its own it refused {status.get('rejected')} bad releases of the history, and serves {current.version}."
    )


def dead_letters(stage: Stage) -> None:
    """List and explain what was refused."""
    narrator, expected = stage.narrator, sum(len(trial.rejected) for trial in stage.record.trials)
    narrator.chapter(f"What {stage.place} kept: the dead letters")
    letters: list[dict[str, Any]] = []

    def are_all_there() -> bool:
        """Look again, and tell whether all of them are there."""
        letters[:] = read_dead_letters(stage.url, stage.model)
        return len(letters) >= expected

    until(are_all_there, seconds=LETTERS_SECONDS, what=f"{expected} dead letters are there")
    stage.record.dead_letters = letters
    narrator.say(f"modelcast dead-letters list: {len(letters)} for {stage.model}, one for each refusal of each instance.")
    for letter in letters:
        narrator.say(f"{letter.get('id')}  {letter.get('version')}  {letter.get('instance')}  {letter.get('reason')}")
    narrator.say("modelcast dead-letters explain:")
    told = set[object]()
    for letter in read_dead_letters(stage.url, stage.model, explained=True):
        if letter.get("reason") not in told:
            told.add(letter.get("reason"))
            narrator.say(f"{letter.get('version')} {letter.get('reason')}: {letter.get('happened')}")
            narrator.say(f"    Whose fault: {letter.get('fault')}")
            narrator.say(f"    What to do: {letter.get('remedy')}")


def end_of_requests(stage: Stage) -> None:
    """Stop the requests, so that the counts are final."""
    for instance in stage.instances:
        instance.caller.hold()


def _train(stage: Stage, rows: int, *, seed: int) -> Trained:
    trained = stage.school.train(rows, seed)
    stage.narrator.say(f"Trained on {rows} rows; right on {trained.accuracy:.1%} of {HELD_OUT} rows held out.")
    return trained


def _promoted(stage: Stage, version: str, what: str, trained: Trained) -> None:
    trial = stage.publish(version, what, trained)
    stage.narrator.say(f"{len(trial.promoted)} of {len(stage.first)} promoted it, the last {trial.seconds:.2f} s after publish().")
    until(
        lambda: all(instance.caller.counts.latest_version == version for instance in stage.first), seconds=ANSWERS_SECONDS,
        what=f"all instances answer with {version}",
    )
    stage.breathe(stage.first)
    stage.narrator.say(f"All answer with {version}.")


def _rejected(stage: Stage, version: str, what: str, trained: Trained, **how: Any) -> None:
    trial = stage.publish(version, what, trained, **how)
    still = ", ".join(sorted({text or "nothing" for text in trial.serving.values()}))
    stage.narrator.say(f"{len(trial.rejected)} of {len(stage.first)} rejected it; they go on answering with {still}.")


def _first_answer(instance: Instance) -> Return:
    instance.call()
    until(lambda: instance.caller.first_answer is not None, seconds=CONNECT_SECONDS, what=f"{instance.name} answers")
    answered = instance.caller.first_answer or 0.0
    return Return(
        instance.name, instance.caller.counts.latest_version, (answered - instance.started) * 1000, instance.connections,
        connected=False,
    )


def _connected(stage: Stage, instance: Instance, back: Return) -> Return:
    seconds = until(
        lambda: bool(instance.status().get("connected")), seconds=CONNECT_SECONDS, what=f"{instance.name} is connected"
    )
    stage.narrator.say(f"{instance.name} is connected{f' {seconds:.1f} s after the way was opened' if seconds > 0.1 else ''}.")
    return Return(back.instance, back.version, back.milliseconds, back.connections, connected=True)
