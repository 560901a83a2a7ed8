"""Questions are answered one a second; a disk or a memory that cannot take the release is told; a flood is passed over."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.fakes.stage import Stage

from modelcast.consumer import workshop
from modelcast.consumer.questions import MOST_WAITING, REST_SECONDS, Questions
from modelcast.shared.order import QUESTION_TYPE, Kind, Order, OrderMessage, QuestionMessage, is_question
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.topology import REPORTS


@pytest.fixture
def stage(tmp_path: Path, signing_key) -> Iterator[Stage]:
    stage = Stage(tmp_path, signing_key)
    yield stage
    stage.stop()


def question(stage: Stage, version: str, **changes: object) -> bytes:
    release = stage.sim.release(version)
    fields: dict[str, object] = {
        "model": "fraud", "channel": "production", "kind": Kind.PROMOTION, "release": bytes.fromhex(release.id), "sequence": 1, "issued_ms": 1,
    }
    envelope = stage.sim.key.sign(QUESTION_TYPE, Order.model_validate(fields | changes).to_bytes())
    return QuestionMessage(envelope, release.envelope).to_bytes()


def answers(stage: Stage) -> list[Report]:
    reports = [Report.parse(held.message.body) for held in stage.broker.node.queues[REPORTS]._held]
    return [report for report in reports if report.kind is ReportKind.ANSWER]


def asked(stage: Stage, *bodies: bytes) -> None:
    session = stage.road.publish("fraud", "production")
    for body in bodies:
        session.announce("production", body)
    session.close()


def test_a_disk_without_room_is_told_and_no_order_is_refused_for_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.joined()
    monkeypatch.setattr(workshop.shutil, "disk_usage", lambda _path: SimpleNamespace(free=5))
    asked(stage, question(stage, "1.0.0"))
    stage.eventually(lambda: answers(stage))
    (answer,) = answers(stage)
    assert (answer.verdict, answer.reason) == (Verdict.REJECTED, "host")
    assert "5 bytes free" in (answer.message or "")
    assert answer.facts["free_bytes"] == 5


def test_what_was_ordered_already_would_be_taken(stage: Stage) -> None:
    consumer = stage.joined()
    stage.sim.publish(stage.sim.release("1.0.0"))
    stage.serves(consumer, "1.0.0")
    asked(stage, question(stage, "1.0.0"))
    stage.eventually(lambda: answers(stage))
    assert answers(stage)[0].verdict is Verdict.PROMOTED


def test_a_question_of_another_channel_says_so(stage: Stage) -> None:
    stage.joined()
    asked(stage, question(stage, "1.0.0", channel="staging"))
    stage.eventually(lambda: answers(stage))
    assert answers(stage)[0].reason == "wrong-target"


def test_a_flood_of_questions_is_answered_one_a_second_and_the_rest_passed_over(stage: Stage) -> None:
    consumer = stage.joined()
    role = consumer._running.role   # type: ignore[union-attr]
    now = [100.0]
    asking = Questions(role.updater, role.verdicts.reporter, role.verdicts.slot, lambda _job, _then: None, clock=lambda: now[0])   # type: ignore[union-attr]
    bodies = [question(stage, f"1.{number}.0", channel="staging") for number in range(20)]
    assert all(asking.take(body) for body in [*bodies, *bodies])
    told = 0
    for _ in range(40):
        told += len(asking.due())
        now[0] += REST_SECONDS / 2
    assert told == MOST_WAITING


def test_an_order_and_an_announcement_are_no_questions(stage: Stage) -> None:
    release = stage.sim.release("1.0.0")
    assert is_question(question(stage, "1.0.0"))
    assert not is_question(stage.sim.order(release))
    assert not is_question(stage.sim.announcement(release))
    assert not is_question(b"nonsense")


def test_nobody_can_make_an_order_of_a_question(stage: Stage) -> None:
    consumer = stage.joined()
    message = QuestionMessage.from_bytes(question(stage, "1.0.0"))
    stage.sim.announce(OrderMessage(message.question, message.manifest).to_bytes())
    stage.eventually(lambda: consumer.status().rejected == 1)
    assert consumer.status().last_verdict.reason == "unknown-format"   # what is signed says what it is
