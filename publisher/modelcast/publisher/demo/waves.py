"""The chapter of a careful operator: a release goes from instance to instance, and a bad one gets no farther than the first.

Decides the text and the order; what it leaves behind judges itself. Imports the stage and the rollouts.
"""

import time

from modelcast.publisher.demo.closing import Trial
from modelcast.publisher.demo.outcomes import Waved
from modelcast.publisher.demo.patience import until
from modelcast.publisher.demo.stage import ANSWERS_SECONDS, CANDIDATES, Stage, told
from modelcast.publisher.demo.training import HELD_OUT, Trained, needing_its_host, on_the_training_host
from modelcast.publisher.rollout.control import Rollouts
from modelcast.publisher.rollout.driver import Happening
from modelcast.publisher.rollout.plan import RolloutPlan
from modelcast.publisher.rollout.status import RolloutStatus
from modelcast.shared.reasons import Reason

GOOD_VERSION, BAD_VERSION = "1.6.0", "1.7.0"
WAVES = "1,50%,100%"
SOAK_SECONDS = 0.3


def waves(stage: Stage) -> None:
    """Roll 1.6.0 out in waves, then 1.7.0, which the first instance refuses."""
    narrator = stage.narrator
    narrator.chapter(f"In waves: {GOOD_VERSION}, and {BAD_VERSION} that is bad")
    rollouts, plan = Rollouts(stage.url, order_key=stage.key), RolloutPlan.of(WAVES, soak_seconds=SOAK_SECONDS, rolls_back=True)
    preview = rollouts.preview(stage.model, plan=plan)
    turns = tuple(name for names in preview for name in names)
    narrator.say(f"Whose turn comes when follows from the ids of the instances: {', '.join(turns)}.")
    trained = stage.school.train(460, seed=8)
    narrator.say(f"Trained on {trained.rows} rows; right on {trained.accuracy:.1%} of {HELD_OUT} rows held out.")
    stage.exam.answers[GOOD_VERSION] = stage.school.answers(trained.model)
    stage.publish_only(GOOD_VERSION, trained, channel=CANDIDATES)
    reached, seconds = _roll_out(stage, rollouts, plan)
    _roll_out_the_bad_one(stage, rollouts, plan, reached, seconds)


def _roll_out(stage: Stage, rollouts: Rollouts, plan: RolloutPlan) -> tuple[list[tuple[str, ...]], float]:
    """Roll the good one out; returns who answered with it after each wave, and how long it took."""
    stage.narrator.say(f"modelcast promote {stage.model} {GOOD_VERSION} --waves {WAVES} --soak {SOAK_SECONDS} --roll-back")
    began, reached, due = time.monotonic(), list[tuple[str, ...]](), list[str]()

    def watch(happening: Happening) -> None:
        """Tell it, and look who answers with the release after each wave."""
        _tell(stage, happening)
        if happening.what == "ordered":
            due[:] = happening.instances
        elif happening.what == "accepted":
            until(
                lambda: all(stage.latest(name) == GOOD_VERSION for name in due), seconds=ANSWERS_SECONDS,
                what=f"{', '.join(due)} answer with {GOOD_VERSION}",
            )
            reached.append(tuple(each.name for each in stage.instances if stage.latest(each.name) == GOOD_VERSION))
            stage.narrator.say(f"wave {happening.wave + 1}: {len(reached[-1])} of {len(stage.instances)} answer with {GOOD_VERSION}.")

    status = rollouts.begin(stage.model, GOOD_VERSION, plan=plan, from_channel=CANDIDATES, watch=watch)
    seconds = time.monotonic() - began
    stage.record.trials.append(Trial(
        GOOD_VERSION, "in waves", status.promoted, {}, {}, stage.serving([each.name for each in stage.instances]), seconds,
    ))
    return reached, seconds


def _roll_out_the_bad_one(
    stage: Stage, rollouts: Rollouts, plan: RolloutPlan, reached: list[tuple[str, ...]], seconds: float
) -> None:
    sound = stage.school.train(465, seed=9)
    trained = Trained(needing_its_host(sound.model), sound.rows, sound.accuracy, sound.parameters)
    with on_the_training_host():
        stage.publish_only(BAD_VERSION, trained, channel=CANDIDATES)
    stage.narrator.say(f"{BAD_VERSION} answers right on its training host only. It goes the same way:")
    began = time.monotonic()
    status = rollouts.begin(stage.model, BAD_VERSION, plan=plan, watch=lambda happening: _tell(stage, happening))
    took = time.monotonic() - began
    serving = stage.serving([each.name for each in stage.instances])
    asked = [*status.failed, *status.promoted]
    stage.narrator.say(
        f"{len(asked)} of {len(stage.instances)} had to look at it; production is back at "
        f"{', '.join(sorted({version or 'nothing' for version in serving.values()}))}, which nobody has left."
    )
    refused = _reasons(status)
    stage.record.trials.append(Trial(
        BAD_VERSION, "halted in the first wave", (), refused, dict(status.failed), serving, took,
    ))
    stage.record.told["waves"] = Waved(
        GOOD_VERSION, tuple(reached), len(stage.instances), BAD_VERSION, tuple(refused), tuple(asked),
        None if status.went_back is None else status.went_back.version,
        tuple(sorted({str(version) for version in serving.values()})), seconds,
    )


def _reasons(status: RolloutStatus) -> dict[str, str]:
    """Return the code of the reason of each instance that refused."""
    codes = {reason.value for reason in Reason}
    return {name: why.partition(":")[0] for name, why in status.failed.items() if why.partition(":")[0] in codes}


def _tell(stage: Stage, happening: Happening) -> None:
    wave = f"wave {happening.wave + 1}"
    if happening.report is not None:
        if happening.report.verdict is not None:
            stage.narrator.say(told(happening.report))
    elif happening.what == "ordered":
        stage.narrator.say(f"{wave}: ordered for {', '.join(happening.instances)}.")
    elif happening.what == "halted":
        stage.narrator.say(f"{wave}: halted. {happening.why}")
