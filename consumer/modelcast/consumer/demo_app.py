"""A small web application that embeds a consumer: what ``modelcast demo`` starts three of, and an example to read.

Decides what is answered over HTTP: ``POST /predict``, ``GET /status`` and ``GET /ready``. Refuses with 503 while there is no
model; never waits for a broker. The address of the broker comes from ``--url`` or, because it holds a password and arguments
can be read by every user of the host, from ``MODELCAST_URL`` or ``MODELCAST_AMQP_URL``. Imports the consumer's public classes only.
"""

import argparse
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog

from modelcast.consumer.model_consumer import ModelConsumer
from modelcast.shared.errors import NotReady

MAX_BODY_BYTES = 64 * 1024
"""A row of 30 numbers has half a kilobyte."""


class Conversation(BaseHTTPRequestHandler):
    """One client's connection, kept open from request to request.

    Args:
        arguments: What the server passes to every connection.
        consumer: Where the model in service is read.
        instance: Who answers.
    """

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1   # head and body in one packet: apart, the body waits 40 ms for the acknowledgement of the head

    def __init__(self, *arguments: Any, consumer: ModelConsumer, instance: str) -> None:
        self._consumer, self._instance = consumer, instance
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer ``/ready`` (200 or 503) and ``/status``."""
        if self.path == "/ready":
            ready = self._consumer.status().ready
            self._answer(200 if ready else 503, {"ready": ready})
        elif self.path == "/status":
            self._answer(200, {**self._consumer.status().to_dict(), "pid": os.getpid()})
        else:
            self._answer(404, {"error": "There is GET /ready, GET /status and POST /predict."})

    def do_POST(self) -> None:
        """Answer ``/predict``: ``{"features": [...]}`` becomes prediction, probabilities, version and instance."""
        length = self.headers.get("Content-Length", "")
        if self.path != "/predict" or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True   # the body was not read, so the next request cannot be found
            self._answer(400, {"error": "Send JSON of known length to /predict."})
            return
        try:
            features = [float(value) for value in json.loads(self.rfile.read(int(length)))["features"]]
        except (ValueError, KeyError, TypeError):
            self._answer(400, {"error": 'Send {"features": [numbers]}.'})
            return
        try:
            self._answer(200, self._predict(features))
        except NotReady as error:
            self._answer(503, {"error": str(error)})
        except Exception as error:  # noqa: BLE001 - the model may raise anything; the client is told and the server lives on
            self._answer(500, {"error": f"{type(error).__name__}: {error}"})

    def _predict(self, features: list[float]) -> dict[str, object]:
        active = self._consumer.active   # read once: model and version belong together for the whole request
        probabilities = [float(share) for share in active.model.predict_proba([features])[0]]
        return {
            "prediction": probabilities.index(max(probabilities)), "probabilities": probabilities,
            "version": active.version, "instance": self._instance,
        }

    def _answer(self, status: int, document: dict[str, object]) -> None:
        body = json.dumps(document, default=str).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that http.server chose
        """Log nothing: thousands of lines a minute would bury the consumer's own."""


def serve(consumer: ModelConsumer, instance: str, port: int) -> ThreadingHTTPServer:
    """Return a server on the loopback address that is bound but does not answer yet.

    Args:
        consumer: Where the model in service is read.
        instance: Who answers.
        port: TCP port, 0 for a free one; ``server_address`` tells which.
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), partial(Conversation, consumer=consumer, instance=instance))
    server.daemon_threads = True
    return server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the application until SIGTERM, SIGINT or, with ``--end-with-stdin``, the end of its standard input."""
    options = _options(arguments)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    consumer = ModelConsumer(
        options.url, model=options.model, channel=options.channel, trust=options.trust, store=options.store,
        instance=options.instance, accept=options.accept,
    )
    server = serve(consumer, options.instance, options.port)
    end = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end.set())
    if options.end_with_stdin:
        threading.Thread(target=_end_with_stdin, args=(end,), daemon=True).start()
    consumer.start()
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(server.server_address[1], flush=True)  # noqa: T201 - whoever started it reads the port here
    end.wait()
    server.shutdown()
    consumer.stop()
    server.server_close()
    return 0


def _end_with_stdin(end: threading.Event) -> None:
    sys.stdin.read()   # comes back when whoever started this process is gone, however it went
    end.set()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m modelcast.consumer.demo_app", description="A web application with a consumer.")
    url = os.environ.get("MODELCAST_URL") or os.environ.get("MODELCAST_AMQP_URL")
    parser.add_argument("--url", default=url, required=url is None, help="address of the road; or set MODELCAST_URL")
    parser.add_argument("--model", required=True, help="name of the model")
    parser.add_argument("--channel", default="production", help="name of the channel")
    parser.add_argument("--store", required=True, help="folder of this instance")
    parser.add_argument("--trust", required=True, action="append", help="public key or key ring; may be repeated")
    parser.add_argument("--instance", required=True, help="id of this instance")
    parser.add_argument("--accept", default="*", help="accepted versions, such as >=1,<2")
    parser.add_argument("--port", type=int, default=0, help="TCP port on the loopback address; 0 for a free one")
    parser.add_argument("--end-with-stdin", action="store_true", help="end when standard input ends")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
