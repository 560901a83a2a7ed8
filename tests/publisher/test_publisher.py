"""The publisher refuses before it connects, waits for its turn, and publishes objects as they are."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from tests.fakes.fake_broker import FakeBroker

from modelcast.publisher import Publisher, SampleSet
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import InvalidName, InvalidVersion, MisuseError, PublisherBusy, SamplesNotReproduced, Unpicklable
from modelcast.shared.signing import SigningKey

X = [[0.0], [1.0], [2.0], [3.0]]
MODEL = LogisticRegression().fit(X, [0, 0, 1, 1])


@pytest.fixture
def publisher(fake_broker: FakeBroker, signing_key: SigningKey) -> Publisher:
    return Publisher(AmqpRoad(fake_broker), signing_key=signing_key, busy_seconds=0.0)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"model": "Fraud/x"}, InvalidName), ({"channel": "chunks"}, InvalidName), ({"version": "1.0"}, InvalidVersion),
        ({"version": "v1.0.0"}, InvalidVersion), ({"format": "joblib"}, MisuseError), ({"samples": ([1], [2], [3])}, MisuseError),
        ({"samples": (X, [9, 9, 9, 9])}, SamplesNotReproduced), ({"expires_seconds": 0}, MisuseError),
        ({"expires_seconds": -1.0}, MisuseError), ({"expires_seconds": float("nan")}, MisuseError),
        ({"expires_seconds": float("inf")}, MisuseError), ({"expires_seconds": 1e300}, MisuseError),
        ({"lineage": {"commit": 7}}, MisuseError), ({"dependencies": {"numpy": 2}}, MisuseError),
    ],
)
def test_a_call_that_cannot_work_is_refused_before_a_connection(
    signing_key: SigningKey, changes: dict[str, Any], error: type[Exception]
) -> None:
    publisher = Publisher("amqp://nobody@127.0.0.1:1/", signing_key=signing_key)
    with pytest.raises(error):
        publisher.publish(MODEL, **({"model": "fraud", "version": "1.0.0"} | changes))


def test_an_unpicklable_object_is_refused_before_a_connection(signing_key: SigningKey) -> None:
    publisher = Publisher("amqp://nobody@127.0.0.1:1/", signing_key=signing_key)
    with pytest.raises(Unpicklable):
        publisher.publish((i for i in range(3)), model="fraud", version="1.0.0")


def test_a_path_needs_a_format(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="format"):
        publisher.publish(tmp_path, model="fraud", version="1.0.0")


def test_an_object_is_published_with_its_environment_and_samples(publisher: Publisher) -> None:
    with publisher as opened:
        publication = opened.publish(
            MODEL, model="fraud", version="1.0.0", samples=SampleSet(X, MODEL.predict(X)), metrics={"auc": 1},
            training=MODEL.get_params(),
        )
    assert publication.sequence == publication.issued_ms // 1000
    assert publication.sent_bytes == publication.total_bytes > 0


def test_a_second_publisher_of_the_same_model_waits_and_then_says_who_is_in_the_way(
    publisher: Publisher, fake_broker: FakeBroker
) -> None:
    session = AmqpRoad(fake_broker).publish("fraud", "production")
    with pytest.raises(PublisherBusy, match="Somebody else is publishing or ordering"):
        publisher.publish(MODEL, model="fraud", version="1.0.0")
    session.close()
    assert not publisher.publish(MODEL, model="fraud", version="1.0.0").was_current


def test_another_model_is_published_meanwhile(publisher: Publisher, fake_broker: FakeBroker) -> None:
    session = AmqpRoad(fake_broker).publish("other", "production")
    assert not publisher.publish(MODEL, model="fraud", version="1.0.0").was_current
    session.close()


@pytest.mark.parametrize("chunk_bytes", [1, 64 * 1024 - 1, 9 * 1024 * 1024])
def test_chunks_have_a_sensible_size(signing_key: SigningKey, chunk_bytes: int) -> None:
    with pytest.raises(MisuseError, match="not possible") as caught:
        Publisher("amqp://localhost", signing_key=signing_key, chunk_bytes=chunk_bytes)
    assert "64 KiB to 8 MiB" in (caught.value.hint or "")


def test_a_key_is_given_as_a_path_or_as_a_key(key_file: Path, signing_key: SigningKey) -> None:
    Publisher("amqp://localhost", signing_key=key_file, order_key=str(key_file))
    Publisher("amqp://localhost", signing_key=signing_key, order_key=signing_key)


def test_importing_the_class_loads_nothing_that_only_publishing_needs() -> None:
    program = """
import sys
from modelcast.publisher import Publisher
print([name for name in ("pika", "structlog", "numpy", "sklearn") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_same_objects_travel_as_they_are_where_nothing_shall_be_packed(fake_broker: FakeBroker, signing_key: SigningKey) -> None:
    sent = {}
    for pack in (True, False):
        publisher = Publisher(AmqpRoad(fake_broker), signing_key=signing_key, pack=pack)
        sent[pack] = publisher.publish(["the same again and again"] * 20_000 + [pack], model=f"fraud-{pack}".lower(), version="1.0.0")
    assert sent[True].wire_bytes < sent[True].sent_bytes
    assert sent[False].wire_bytes == sent[False].sent_bytes
