"""Health over HTTP: three questions, by WSGI and by ASGI, and a broker that is away does not make an instance unready."""

import asyncio
import json
from dataclasses import replace
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from tests.fakes.stage import Stage

from modelcast.consumer.health import HealthApp, answer
from modelcast.consumer.status import Status

SERVES = Status(live=True, ready=True, fresh=True, state="idle", detail="Serves 1.0.0.", instance="a", model="fraud", channel="production",
                version="1.0.0", connected=True)


class Fixed:
    def __init__(self, status: Status) -> None:
        self._status = status

    def status(self) -> Status:
        return self._status


def by_wsgi(status: Status, path: str, method: str = "GET") -> tuple[str, bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method, "QUERY_STRING": "", "SCRIPT_NAME": ""}
    setup_testing_defaults(environ)
    lines: list[str] = []

    def start_response(line: str, headers: list[tuple[str, str]], _error: object = None) -> Any:
        assert ("Cache-Control", "no-store") in headers
        lines.append(line)
        return lambda _body: None

    found = validator(HealthApp(Fixed(status)))(environ, start_response)   # type: ignore[arg-type]
    try:
        body = b"".join(found)
    finally:
        found.close()   # type: ignore[attr-defined]
    return lines[0], body


def by_asgi(status: Status, path: str, method: str = "GET") -> tuple[int, bytes]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    asyncio.run(HealthApp(Fixed(status)).asgi({"type": "http", "method": method, "path": path}, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(("path", "change"), [("/live", "live"), ("/ready", "ready"), ("/fresh", "fresh"), ("/health/ready/", "ready")])
def test_each_question_is_answered_by_its_own_part_of_the_status(path: str, change: str) -> None:
    assert by_wsgi(SERVES, path)[0] == "200 OK"
    assert by_asgi(SERVES, path)[0] == 200
    sick = replace(SERVES, **{change: False})   # type: ignore[arg-type]
    line, body = by_wsgi(sick, path)
    assert (line, json.loads(body)) == ("503 Service Unavailable", {change: False, "version": "1.0.0", "detail": "Serves 1.0.0."})
    assert by_asgi(sick, path) == (503, body)
    others = {"/live", "/ready", "/fresh"} - {f"/{change}"}
    assert {by_asgi(sick, other)[0] for other in others} == {200}


def test_the_root_tells_everything_to_people() -> None:
    sick = replace(SERVES, live=False, ready=False, fresh=False)
    code, body = by_asgi(sick, "/")
    assert (code, json.loads(body)) == (200, sick.to_dict())


def test_what_is_not_asked_for_here_is_refused() -> None:
    assert by_wsgi(SERVES, "/nonsense")[0].startswith("404")
    assert by_asgi(SERVES, "/ready", "POST")[0] == 405
    assert by_wsgi(SERVES, "/ready", "HEAD") == ("200 OK", b"")


def test_an_asgi_server_may_ask_it_to_start_and_to_end() -> None:
    coming, sent = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}], []

    async def receive() -> Any:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(HealthApp(Fixed(SERVES)).asgi({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_a_broker_that_is_away_does_not_make_an_instance_unready(tmp_path: Any, signing_key: Any) -> None:
    stage = Stage(tmp_path, signing_key)
    consumer = stage.joined()
    try:
        assert answer(consumer, "/ready")[0].startswith("503")
        assert answer(consumer, "/live")[0].startswith("200")
        stage.sim.publish(stage.sim.release("1.0.0"))
        stage.serves(consumer, "1.0.0")
        stage.broker.stop()
        stage.eventually_without_broker(lambda: not consumer.status().connected)
        line, body = answer(consumer, "/ready")
        assert (line, json.loads(body)["version"]) == ("200 OK", "1.0.0")
    finally:
        stage.broker.start()
        stage.stop()
