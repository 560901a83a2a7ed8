"""An instance as a process: serves nothing, prints its status as a JSON line whenever it changes, ends with its stdin.

A line there is why the version in service is bad.

Versions that are named after its five arguments are refused by a validator of its own.
"""

import json
import os
import sys
import threading
from pathlib import Path

import structlog

from modelcast.consumer import ModelConsumer, Timing


def main() -> None:
    url, model, store, trust, name, *refused = sys.argv[1:]
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    timing = Timing(retry_first_seconds=0.1, retry_most_seconds=1.0, chunk_idle_seconds=3.0)
    consumer = ModelConsumer(url, model=model, trust=[Path(trust)], store=store, instance=name, timing=timing)
    if refused:
        consumer.validator(lambda _candidate, manifest: manifest.version not in refused)
    consumer.start()
    ended = threading.Event()


    def listen() -> None:
        """Report what comes in until there is no more."""
        for reason in sys.stdin:
            consumer.report_bad(reason.strip())
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    last = ""
    while not ended.wait(0.02):
        line = json.dumps({**consumer.status().to_dict(), "last_contact_ms": None, "pid": os.getpid()})
        if line != last:
            print(line, flush=True)
            last = line
    consumer.stop()


if __name__ == "__main__":
    main()
