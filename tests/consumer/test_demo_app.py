"""The little application answers what it should, and lives on when a model or a client misbehaves."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.fake_broker import FakeBroker

from modelcast.consumer.demo_app import MAX_BODY_BYTES, serve
from modelcast.consumer.model_consumer import ModelConsumer
from modelcast.publisher.publisher import Publisher
from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.signing import SigningKey


def sum_model() -> Any:
    class SumModel:
        def predict_proba(self, rows: list[list[float]]) -> list[list[float]]:
            if len(rows[0]) != 2:
                raise ValueError("two features, please")
            return [[1 - sum(row), sum(row)] for row in rows]

    return SumModel()


@pytest.fixture
def consumer(fake_broker: FakeBroker, signing_key: SigningKey, tmp_path: Path) -> Iterator[ModelConsumer]:
    with ModelConsumer(
        AmqpRoad(fake_broker), model="sums", trust=[signing_key.trusted()], store=tmp_path / "store", instance="app-1"
    ) as consumer:
        yield consumer


@pytest.fixture
def connection(consumer: ModelConsumer) -> Iterator[HTTPConnection]:
    server = serve(consumer, "app-1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    yield connection
    connection.close()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def published(fake_broker: FakeBroker, signing_key: SigningKey, consumer: ModelConsumer) -> None:
    publisher = Publisher(AmqpRoad(fake_broker), signing_key=signing_key)
    publisher.publish(sum_model(), model="sums", version="1.0.0", dependencies={})
    consumer.wait_until_ready(20)


def ask(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, body)
    response = connection.getresponse()
    document: dict[str, Any] = json.loads(response.read())
    return response.status, document


def test_without_a_model_it_says_that_it_is_not_ready(connection: HTTPConnection) -> None:
    assert ask(connection, "GET", "/ready") == (503, {"ready": False})
    assert ask(connection, "POST", "/predict", b'{"features": [1, 2]}')[0] == 503


@pytest.mark.usefixtures("published")
def test_it_answers_with_the_model_in_service_and_says_which(connection: HTTPConnection) -> None:
    status, answer = ask(connection, "POST", "/predict", b'{"features": [0.5, 0.25]}')
    assert status == 200
    assert answer == {"prediction": 1, "probabilities": [0.25, 0.75], "version": "1.0.0", "instance": "app-1"}
    assert ask(connection, "GET", "/ready") == (200, {"ready": True})


@pytest.mark.usefixtures("published")
def test_its_status_is_the_consumers(connection: HTTPConnection, consumer: ModelConsumer) -> None:
    _, status = ask(connection, "GET", "/status")
    assert set(status) == {*consumer.status().to_dict(), "pid"}
    assert (status["instance"], status["version"], status["live"]) == ("app-1", "1.0.0", True)


@pytest.mark.usefixtures("published")
def test_one_connection_serves_many_requests(connection: HTTPConnection) -> None:
    connection.connect()
    socket = connection.sock
    for _ in range(3):
        assert ask(connection, "POST", "/predict", b'{"features": [0, 1]}')[0] == 200
    assert connection.sock is socket


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("body", [b"", b"[", b"{}", b"[1]", b'{"features": 1}', b'{"features": ["x"]}', b'{"features": null}'])
def test_a_request_that_is_none_gets_400_and_the_next_is_answered(connection: HTTPConnection, body: bytes) -> None:
    assert ask(connection, "POST", "/predict", body)[0] == 400
    assert ask(connection, "POST", "/predict", b'{"features": [0, 1]}')[0] == 200


@pytest.mark.usefixtures("published")
def test_a_body_that_is_too_large_is_not_read(connection: HTTPConnection) -> None:
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(MAX_BODY_BYTES + 1))
    connection.endheaders()
    response = connection.getresponse()
    assert (response.status, json.loads(response.read()).keys()) == (400, {"error"})


@pytest.mark.usefixtures("published")
def test_a_model_that_raises_costs_one_answer_and_no_more(connection: HTTPConnection) -> None:
    assert ask(connection, "POST", "/predict", b'{"features": [1]}') == (500, {"error": "ValueError: two features, please"})
    assert ask(connection, "POST", "/predict", b'{"features": [0, 1]}')[0] == 200


def test_an_unknown_path_gets_404(connection: HTTPConnection) -> None:
    assert ask(connection, "GET", "/")[0] == 404


def test_the_process_prints_its_port_logs_elsewhere_and_ends_with_its_standard_input(signing_key: SigningKey, tmp_path: Path) -> None:
    from modelcast.shared.keyfiles import public_pem

    public = tmp_path / "training.pub"
    public.write_text(public_pem(signing_key.trusted()))
    done = subprocess.run(
        [
            sys.executable, "-m", "modelcast.consumer.demo_app", "--url", "amqp://nobody:secret@127.0.0.1:1/", "--model", "sums", "--trust",
            str(public), "--store", str(tmp_path / "store"), "--instance", "app-1", "--end-with-stdin",
        ],
        input="", capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()
    assert all(json.loads(line) for line in done.stderr.splitlines() if line.startswith("{"))
