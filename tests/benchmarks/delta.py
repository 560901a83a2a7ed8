"""What goes over the wire when little changed, and when a transfer was killed at half.

Decides the story: an instance follows three versions; another is killed at half of the first and comes back. Imports players.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.bars import HEADINGS, Bar, rows_of
from tests.benchmarks.contender import MIB
from tests.benchmarks.contenders import BY_NAME
from tests.benchmarks.delta_role import VERSIONS
from tests.benchmarks.documents import machine_facts
from tests.benchmarks.ground import Ground
from tests.benchmarks.players import Player, RoundFailed
from tests.benchmarks.tables import note, show
from tests.benchmarks.task import Task

MODULE = "tests.benchmarks.delta_role"
FIRST, CHANGED, SAME = VERSIONS
COPIES = 8
"""Files, stream and stores of the story, in sizes of the model."""


def run(directory: Path | None, *, size: int) -> dict[str, Any]:
    """Tell the story, print, and return the document."""
    server = BY_NAME["modelcast"].server
    with Ground(directory, needed=size * COPIES) as ground:
        try:
            settings = server.start(ground.path / "rabbitmq")
            shares, total = _three_versions(ground, settings, size)
            shares["killed"] = _killed(ground, settings, size) / total
        finally:
            server.stop()
        kind = ground.kind
    bars = _bars(shares, size)
    show(f"Only what is new, {size // MIB} MiB", HEADINGS, rows_of(bars))
    facts = machine_facts(file_system=kind, size=size)
    return {"kind": "delta", "facts": facts, "shares": shares, "bars": [bar.to_plain() for bar in bars]}


def _bars(shares: dict[str, float], size: int) -> list[Bar]:
    condition = "" if size == 512 * MIB else f"{size // MIB} MiB"
    what: Sequence[tuple[str, float, str]] = (
        ("10 % of the bytes changed: sent by the publisher", 12, "changed_sent"),
        ("10 % of the bytes changed: received by an instance", 12, "changed_received"),
        ("the same bytes as another version: sent", 1, "same_sent"),
        ("the same bytes as another version: received", 1, "same_received"),
        ("killed at half of a transfer: received again", 55, "killed"),
    )
    return [Bar(text, bound, 100 * shares[key], "%", condition=condition) for text, bound, key in what]


def _task(ground: Ground, settings: dict[str, Any], size: int, label: str, number: int, who: str) -> Task:
    common = ground.path / label
    return Task("modelcast", number, 1, size, "", "", str(common / who), str(common), label, settings)


def _three_versions(ground: Ground, settings: dict[str, Any], size: int) -> tuple[dict[str, float], int]:
    players: list[Player] = []
    try:
        players.extend(
            Player(role, _task(ground, settings, size, "follow", 0, role), module=MODULE) for role in ("publish", "receive")
        )
        publisher, instance = players
        for player in players:
            player.wait_for("ready")
        for version in VERSIONS:
            publisher.tell("go")
            publisher.wait_for(version)
            instance.wait_for(version)
            note(f"{version} is in service")
        total: int = publisher.marks[FIRST].note["total_bytes"]
        shares = {}
        for name, version, before in (("changed", CHANGED, FIRST), ("same", SAME, CHANGED)):
            for player, field, word in ((publisher, "wire_sent", "sent"), (instance, "wire_received", "received")):
                shares[f"{name}_{word}"] = (player.marks[version].note[field] - player.marks[before].note[field]) / total
        return shares, total
    finally:
        for player in players:
            player.close()
        shutil.rmtree(ground.path / "follow", ignore_errors=True)


def _killed(ground: Ground, settings: dict[str, Any], size: int) -> int:
    """Return the bytes that the successor of a killed instance received."""
    players = [Player("publish", _task(ground, settings, size, "killed", 0, "publish"), module=MODULE)]
    try:
        players[0].wait_for("ready")
        players.append(Player("receive", _task(ground, settings, size, "killed", 1, "first"), module=MODULE))
        players[1].wait_for("ready")
        players[0].tell("go")
        try:
            players[1].wait_for(FIRST)
        except RoundFailed:
            note("killed at half")
        else:
            raise RoundFailed("The first instance was not killed.")
        players[0].wait_for(FIRST)
        players.append(Player("receive", _task(ground, settings, size, "killed", 0, "second"), module=MODULE))
        received: int = players[2].wait_for(FIRST).note["wire_received"]
        return received
    finally:
        for player in players:
            player.close()
