"""How a rollout stands: what its records say, and what the instances say. Pure. Imports the records and the tally."""

from collections.abc import Mapping
from dataclasses import dataclass

from modelcast.publisher.publication import Publication
from modelcast.publisher.rollout.plan import reach_of, reached
from modelcast.publisher.rollout.records import Phase, Rollout
from modelcast.publisher.rollout.tally import Said, Tally

HALTED_CODE, LEFT_CODE = 37, 38
"""Exit codes: of a rollout that was stopped, and of one that somebody left behind."""


@dataclass(frozen=True, slots=True)
class RolloutStatus:
    """How a rollout stands.

    Attributes:
        model: Name of the model.
        rollout: What its records say.
        waves: The instances of each wave by its number, as they are known now; those of the waves before are not repeated.
        promoted: Instances that serve it.
        failed: Instances that refused it, or left it again, and why.
        vetoed: Instances whose application reported it as bad, and why.
        undecided: Instances whose turn has come, and that said nothing.
        went_back: The order to go back, when this call gave it.
    """

    model: str
    rollout: Rollout
    waves: tuple[tuple[str, ...], ...]
    promoted: tuple[str, ...]
    failed: Mapping[str, str]
    vetoed: Mapping[str, str]
    undecided: tuple[str, ...]
    went_back: Publication | None = None

    @property
    def exit_code(self) -> int:
        """0 it reached all instances, or is under way; 37 it halted or was aborted; 38 somebody ordered something else."""
        if self.rollout.phase in {Phase.HALTED, Phase.ABORTED}:
            return HALTED_CODE
        return LEFT_CODE if self.rollout.phase is Phase.SUPERSEDED else 0

    def to_dict(self) -> dict[str, object]:
        """Return everything as plain values, for JSON."""
        rollout, plan = self.rollout, self.rollout.plan
        return {
            "model": self.model, "channel": rollout.begun.channel, "version": rollout.begun.version, "release": rollout.begun.release,
            "rollout": rollout.begun.sequence, "phase": rollout.phase.value, "why": rollout.why, "driver": rollout.driver,
            "begun_ms": rollout.begun.at_ms, "changed_ms": rollout.changed_ms, "left_by": rollout.left_by,
            "plan": {
                "waves": [str(wave) for wave in plan.waves], "soak_seconds": plan.soak_seconds,
                "verdict_seconds": plan.verdict_seconds, "max_failures": str(plan.max_failures),
                "max_vetoes": plan.max_vetoes, "rolls_back": plan.rolls_back,
            },
            "waves": [
                {
                    "wave": str(plan.waves[number]), "state": self.state_of(number), "instances": list(names),
                    "order": sent.sequence if (sent := rollout.sent.get(number)) else None,
                    "issued_ms": sent.issued_ms if sent else None,
                }
                for number, names in enumerate(self.waves)
            ],
            "promoted": list(self.promoted), "failed": dict(self.failed), "vetoed": dict(self.vetoed),
            "undecided": list(self.undecided),
            "went_back_to": None if self.went_back is None else self.went_back.version,
        }

    def state_of(self, number: int) -> str:
        """Return how a wave stands: ``accepted``, ``ordered``, or ``waits``."""
        if number < self.rollout.accepted:
            return "accepted"
        return "ordered" if number in self.rollout.sent else "waits"


def status_of(model: str, rollout: Rollout, tally: Tally) -> RolloutStatus:
    """Put together what the records and the reports say."""
    before, seen, waves = None, set[str](), list[tuple[str, ...]]()
    for number, wave in enumerate(rollout.plan.waves):
        sent = rollout.sent.get(number)
        before = sent.up_to if sent is not None else reach_of(wave, tally.known, before)
        waves.append(tuple(name for name in reached(tally.known, before) if name not in seen))
        seen.update(waves[-1])
    due = reached(tally.known, rollout.up_to) if rollout.sent else []
    failed = tally.failed if rollout.left_by is None else tally.with_said(Said.REJECTED)   # who left it was told to
    failed = reached(failed, rollout.up_to)
    return RolloutStatus(
        model, rollout, tuple(waves), tuple(tally.with_said(Said.PROMOTED)), {name: tally.why[name] for name in failed},
        {name: tally.why[name] for name in tally.vetoed}, tuple(sorted(tally.undecided(due))),
    )
