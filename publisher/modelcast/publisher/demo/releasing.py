"""The chapters of whoever decides what runs: by way of staging into production, and back.

Decides the text and the order within a chapter; what they leave behind judges itself. Imports the stage and the operator.
"""

from collections.abc import Callable

from modelcast.publisher.demo.closing import GOOD_VERSIONS
from modelcast.publisher.demo.outcomes import RolledBack, Staged
from modelcast.publisher.demo.patience import until
from modelcast.publisher.demo.stage import ANSWERS_SECONDS, STAGING, Stage
from modelcast.publisher.demo.training import HELD_OUT, Trained
from modelcast.publisher.operator import Operator
from modelcast.shared.cli.output import as_size
from modelcast.shared.errors import Withdrawn

NEXT_VERSION = "1.5.0"
RECIPE = (450, 7)
"""Rows and seed of its training."""
REASON = "its answers drift"


def staging(stage: Stage) -> None:
    """Publish 1.5.0 to staging, then promote the same release to production."""
    narrator, newcomer = stage.narrator, stage.staging
    narrator.chapter(f"By way of staging: {NEXT_VERSION}")
    newcomer.start()
    narrator.say(f"One instance follows the channel {STAGING}: {newcomer.name} is process {newcomer.pid}.")
    trained = _train(stage)
    newcomer.call()
    stage.record.counts[newcomer.name] = newcomer.caller.counts
    verdicts = stage.send(NEXT_VERSION, trained, channel=STAGING, instances=1)
    stage.breathe([newcomer, *stage.instances])
    meanwhile = _versions(_serving(stage))
    narrator.say(f"Production goes on answering with {', '.join(meanwhile)}: nothing was ordered there.")
    narrator.say(f"modelcast promote {stage.model} {NEXT_VERSION} --from {STAGING} --to production --require-verdicts 1.0")
    operator = Operator(stage.url, order_key=stage.key)
    promoted = stage.follow(
        operator, lambda: operator.promote(stage.model, NEXT_VERSION, from_channel=STAGING, require_verdicts=1.0),
        instances=len(stage.instances),
    )
    narrator.say(f"{len(promoted.promoted)} of {len(stage.instances)} promoted it, the last {promoted.seconds:.2f} s after promote().")
    _all_answer_with(stage, NEXT_VERSION)
    stage.record.trials.append(promoted.trial("by way of staging", _serving(stage)))
    stage.record.told["staging"] = Staged(
        NEXT_VERSION, tuple(verdicts.promoted), meanwhile,
        promoted.publication.sent_bytes, tuple(promoted.promoted), len(stage.instances), promoted.seconds,
    )


def rollback(stage: Stage) -> None:
    """Withdraw 1.5.0 from production; bring it back only when somebody insists."""
    narrator, everyone = stage.narrator, len(stage.instances)
    narrator.chapter(f"Back: {NEXT_VERSION} is withdrawn")
    if NEXT_VERSION not in stage.exam.answers:   # there was no staging in this story
        verdicts = stage.send(NEXT_VERSION, _train(stage), instances=everyone)
        _all_answer_with(stage, NEXT_VERSION)
        stage.record.trials.append(verdicts.trial("straight to production", _serving(stage)))
    operator = Operator(stage.url, order_key=stage.key)
    narrator.say(f'modelcast rollback {stage.model} --reason "{REASON}"')
    stage.exam.withdrawn.add(NEXT_VERSION)
    # What was ordered before is 1.4.0, which every instance refused: it goes back to what they ran.
    back = stage.follow(operator, lambda: operator.rollback(stage.model, reason=REASON), instances=everyone)
    slowest = max((sum(report.stages_ms.values()) for report in back.promoted.values()), default=0.0)
    fetched = sum(int(report.transfer.get("fetched_bytes", 0)) for report in back.promoted.values())
    narrator.say(
        f"{len(back.promoted)} of {everyone} went back, each in {slowest:.0f} ms or less, without a transfer "
        f"({as_size(fetched)} fetched); the last {back.seconds:.2f} s after rollback()."
    )
    _all_answer_with(stage, GOOD_VERSIONS[-1])
    narrator.say(f"{NEXT_VERSION} does not come back by itself, and nobody brings it back by mistake:")
    refusals = {
        "promote": _refusal(stage, "promote", lambda: operator.promote(stage.model, NEXT_VERSION)),
        "publish": _refusal(stage, "publish", lambda: stage.publish_only(NEXT_VERSION, stage.school.train(*RECIPE))),
    }
    hints = {refusal.hint or "": None for refusal in refusals.values() if refusal is not None}
    narrator.say(f"    What to do: {' '.join(hints)}")
    stage.breathe(stage.instances)
    served = _versions(_serving(stage))
    narrator.say(f"modelcast promote {stage.model} {NEXT_VERSION} --again: somebody has looked, and insists.")
    stage.exam.withdrawn.discard(NEXT_VERSION)
    again = stage.follow(operator, lambda: operator.promote(stage.model, NEXT_VERSION, again=True), instances=everyone)
    _all_answer_with(stage, NEXT_VERSION)
    stage.record.told["rollback"] = RolledBack(
        NEXT_VERSION, back.publication.version, tuple(back.promoted), everyone, fetched, slowest, back.seconds,
        served, {command: refusal.exit_code if refusal else None for command, refusal in refusals.items()}, tuple(again.promoted),
    )


def _train(stage: Stage) -> Trained:
    trained = stage.school.train(*RECIPE)
    stage.narrator.say(f"Trained on {trained.rows} rows; right on {trained.accuracy:.1%} of {HELD_OUT} rows held out.")
    stage.exam.answers[NEXT_VERSION] = stage.school.answers(trained.model)
    return trained


def _refusal(stage: Stage, command: str, order: Callable[[], object]) -> Withdrawn | None:
    try:
        order()
    except Withdrawn as refusal:
        stage.narrator.say(f"modelcast {command} ends with {refusal.exit_code}: {refusal}")
        return refusal
    stage.narrator.say(f"modelcast {command} was not refused.")
    return None


def _all_answer_with(stage: Stage, version: str) -> None:
    until(
        lambda: all(instance.caller.counts.latest_version == version for instance in stage.instances), seconds=ANSWERS_SECONDS,
        what=f"all instances answer with {version}",
    )
    stage.breathe(stage.instances)
    stage.narrator.say(f"All answer with {version}.")


def _serving(stage: Stage) -> dict[str, str | None]:
    return {instance.name: instance.caller.counts.latest_version for instance in stage.instances}


def _versions(serving: dict[str, str | None]) -> tuple[str, ...]:
    return tuple(sorted({text or "nothing" for text in serving.values()}))
