"""Small things that people feel: imports, the command's help, reading the active model, a tiny model to four instances, a restart.

Decides how often each is repeated; medians are judged. Imports players.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB
from tests.benchmarks.contenders import BY_NAME
from tests.benchmarks.documents import ROOT, machine_facts
from tests.benchmarks.ground import Ground
from tests.benchmarks.players import Player
from tests.benchmarks.tables import note, show
from tests.benchmarks.task import Task

MODULE = "tests.benchmarks.small_role"
INSTANCES = 4
IMPORTS = {"import_ms": "import modelcast.consumer", "import_class_ms": "from modelcast.consumer import ModelConsumer"}
"""The package alone loads next to nothing; what applications write loads the class."""
FIRST = "from modelcast.consumer import ModelConsumer; import modelcast.consumer.member"
"""What the first ``ModelConsumer(...)`` of a process loads besides."""
TIMED = "import time; start = time.perf_counter(); {}; print(time.perf_counter() - start)"
COPIES = 5
"""Files and streams of the restarted model, in its size."""


def run(directory: Path | None, *, repeats: int, store_mib: int) -> dict[str, Any]:
    """Measure, print, and return the document."""
    found: dict[str, list[float]] = {
        **{name: [_import_ms(statement) for _ in range(repeats)] for name, statement in IMPORTS.items()},
        "first_ms": [_import_ms(FIRST) for _ in range(repeats)],
        "python_ms": [_wall_ms([sys.executable, "-c", "pass"]) for _ in range(repeats)],
        "help_ms": [_wall_ms([sys.executable, "-m", "modelcast.shared.cli", "--help"]) for _ in range(repeats)],
    }
    note("imports are measured")
    server, directory_server, http_server = (BY_NAME[name].server for name in ("modelcast", "modelcast-file", "modelcast-http"))
    with Ground(directory, needed=store_mib * MIB * COPIES) as ground:
        try:
            settings = server.start(ground.path / "rabbitmq")
            found["tiny_ms"], found["read_ns"] = _tiny(ground, settings, repeats)
            found["tiny_file_ms"], _ = _tiny(ground, directory_server.start(ground.path / "directory"), repeats, label="tiny-file")
            found["tiny_http_ms"], _ = _tiny(ground, http_server.start(ground.path / "server"), repeats, label="tiny-http")
            note("tiny models are measured")
            _fill(ground, settings, store_mib * MIB)
        finally:
            server.stop()
            http_server.stop()
        found["restart_ms"] = [_restart_ms(ground, settings, number) for number in range(max(1, repeats // 3))]
        kind = ground.kind
    bars = _bars({name: median(values) for name, values in found.items()}, store_mib)
    show("Small things", HEADINGS, rows_of(bars))
    facts = machine_facts(file_system=kind, repeats=repeats)
    return {"kind": "small", "facts": facts, "values": found, "bars": [bar.to_plain() for bar in bars]}


def _bars(medians: dict[str, float], store_mib: int) -> list[Bar]:
    python = f"Python alone takes {medians['python_ms']:.0f} ms"
    later = {"import_class_ms": f"; the first `ModelConsumer(...)` loads {medians['first_ms'] - medians['import_class_ms']:.0f} ms more"}
    return [
        *(
            Bar(f"`{statement}`", 200, medians[name], "ms", condition="without the start of Python" + later.get(name, ""))
            for name, statement in IMPORTS.items()
        ),
        Bar("`modelcast --help`", 200, medians["help_ms"], "ms", condition=f"the whole process; {python}"),
        Bar("reading `consumer.active`, over a plain attribute", 100, medians["read_ns"], "ns"),
        Bar("a tiny model, `publish()` called to promoted at the last of 4 instances", 150, medians["tiny_ms"], "ms"),
        Bar("… in a shared directory", 300, medians["tiny_file_ms"], "ms"),
        Bar("… over HTTP", 250, medians["tiny_http_ms"], "ms"),
        Bar(f"restart with the broker away, {store_mib} MiB model, to ready", 300, medians["restart_ms"], "ms", condition="after import"),
    ]


def _output(command: Sequence[str]) -> str:
    installed = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}   # an installation compiles; not to compile with every import
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=installed).stdout


def _import_ms(statement: str) -> float:
    return 1e3 * float(_output([sys.executable, "-c", TIMED.format(statement)]))


def _wall_ms(command: Sequence[str]) -> float:
    start = time.perf_counter()
    _output(command)
    return 1e3 * (time.perf_counter() - start)


def _task(ground: Ground, settings: dict[str, Any], size: int, label: str, number: int, who: str) -> Task:
    common = ground.path / label
    return Task("modelcast", number, INSTANCES, size, "", "", str(common / who), str(common), label, settings)


def _tiny(ground: Ground, settings: dict[str, Any], repeats: int, *, label: str = "tiny") -> tuple[list[float], list[float]]:
    """Publish tiny models one after the other; the first, which brings queues and streams into being, does not count."""
    players = [Player("publish", _task(ground, settings, 0, label, -1, "publish"), module=MODULE)]
    try:
        players.extend(
            Player("receive", _task(ground, settings, 0, label, number, f"p{number}"), module=MODULE) for number in range(INSTANCES)
        )
        publisher, *instances = players
        for player in players:
            player.wait_for("ready")
        times: list[float] = []
        for number in range(repeats + 1):
            for player in instances:
                player.tell("next")
            publisher.tell("go")
            version = f"1.0.{number}"
            called_ns = publisher.wait_for(version).note["called_ns"]
            times.append(max(player.wait_for(version).at_ns - called_ns for player in instances) / 1e6)
        instances[0].tell("enough")
        return times[1:], [instances[0].wait_for("read").note["nanoseconds"]]
    finally:
        for player in players:
            player.close()


def _fill(ground: Ground, settings: dict[str, Any], size: int) -> None:
    """Bring a model into a store."""
    players = [
        Player("publish", _task(ground, settings, size, "large", -1, "publish"), module=MODULE),
        Player("receive", _task(ground, settings, size, "large", 0, "fill"), module=MODULE),
    ]
    try:
        for player in players:
            player.wait_for("ready")
        players[1].tell("next")
        players[0].tell("go")
        players[1].wait_for("1.0.0")
    finally:
        for player in players:
            player.close()


def _restart_ms(ground: Ground, settings: dict[str, Any], number: int) -> float:
    player = Player("restart", _task(ground, settings, 0, "large", 0, f"restart-{number}"), module=MODULE)
    try:
        ready, promoted = player.wait_for("ready"), player.wait_for("promoted")
        return (promoted.at_ns - ready.at_ns) / 1e6
    finally:
        player.close()
