"""Waiting for verdicts goes on when its connection is lost, on the broker in memory and on RabbitMQ."""

from pathlib import Path

import pytest
from tests.contract.conftest import Operator
from tests.fakes import specimens

from modelcast.publisher import Publisher
from modelcast.publisher.publication import Publication
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.link import Broker
from modelcast.shared.report import Report, ReportKind, Verdict
from modelcast.shared.road import Target
from modelcast.shared.signing import SigningKey
from modelcast.shared.topology import REPORTS


@pytest.fixture
def road(broker: Broker) -> AmqpRoad:
    return AmqpRoad(broker, name="contract", retention_bytes=64 * 1024 * 1024)


def promotes(road: AmqpRoad, instance: str, publication: Publication) -> None:
    """Let an instance report that it promoted."""
    body = specimens.report(
        kind=ReportKind.VERDICT, instance=instance, model="fraud", channel="production", verdict=Verdict.PROMOTED,
        order=publication.order,
    ).to_bytes()
    joined = road.join(Target("fraud", "production", instance))
    is_confirmed = joined.report(body)
    while not is_confirmed():
        joined.next_order(0.1)
    joined.close()


@pytest.mark.parametrize("trouble", ["connections closed", "reports deleted"])
def test_waiting_goes_on_after_a_loss_and_counts_each_instance_once(
    road: AmqpRoad, operator: Operator, signing_key: SigningKey, tmp_path: Path, trouble: str
) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    publisher = Publisher(road, signing_key=signing_key)
    publication = publisher.publish(tmp_path / "model.bin", model="fraud", version="1.0.0", format="files", lineage={})
    promotes(road, "a", publication)
    seen: list[str] = []

    def on_verdict(report: Report) -> None:
        seen.append(report.instance)
        if len(seen) == 1:
            if trouble == "connections closed":
                operator.drop_links()
            else:
                operator.delete_queue(REPORTS)
            promotes(road, "b", publication)

    outcome = publisher.wait(publication, instances=2, timeout_seconds=60, on_verdict=on_verdict)
    assert (outcome.ok, outcome.fault, seen) == (True, None, ["a", "b"])
