"""The public API as typed code: mypy and pyright check this file, nothing runs it."""

from pathlib import Path
from typing import Any

from modelcast.consumer import ActiveModel, LastVerdict, Loading, ModelConsumer, Status, Timing
from modelcast.publisher import Outcome, Progress, Publication, Publisher, SampleSet
from modelcast.shared.manifest import Manifest
from modelcast.shared.report import Report


def publishes(model: object, key: Path) -> int:
    with Publisher("amqp://localhost", signing_key=key, order_key=str(key)) as publisher:

        def watch(progress: Progress) -> None:
            print(progress.done_bytes / progress.total_bytes)

        publication: Publication = publisher.publish(
            model, model="fraud", version="2.1.0", channel="staging", training={"trees": 300}, metrics={"auc": 0.98},
            samples=SampleSet([1], [2], method="predict"), lineage={"dataset": "2026-11"}, watch=watch,
        )
        outcome: Outcome = publisher.wait(publication, share=0.95, timeout_seconds=600)
        rejected: dict[str, Report] = outcome.rejected
        print(rejected, outcome.promoted, outcome.silent)
        return outcome.exit_code


def serves(key: Path, store: Path) -> Any:
    consumer = ModelConsumer(
        "amqp://localhost", model="fraud", channel="production", accept=">=2,<3", trust=[key, "keys/other.pub"], store=store,
        timing=Timing(load_seconds=60), loading=Loading(collector="freeze"), loaders={"mine": lambda folder: folder.name},
        fallback="https://models.example",
    )

    @consumer.validator
    def sane(candidate: Any, manifest: Manifest) -> bool:
        return bool(candidate) and manifest.version != "0.0.0"

    consumer.start()
    active: ActiveModel = consumer.wait_until_ready(30)
    status: Status = consumer.status()
    last: LastVerdict | None = status.last_verdict
    print(sane, last, status.to_dict(), active.version, active.manifest.training.metrics)
    stopped: bool = consumer.stop(timeout_seconds=5)
    return consumer.active.model if stopped else None
