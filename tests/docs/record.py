"""Make the pictures of the README: ``python tests/docs/record.py``. It takes four minutes, since an instance must fall silent.

A private broker of its own, six instances of the demo's application, real releases; what is drawn is what the commands printed to a
terminal of 106 columns, only the colours of some words are the picture's. One instance rejects the last release, one is killed; a
release signed by a stranger, one that came too late and one outside the version range are dead letters.
"""

import fcntl
import itertools
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.docs.pages import ROOT
from tests.docs.terminal import svg_of

from modelcast.shared.keyfiles import generate
from modelcast.shared.localbroker.node import PrivateNode

IMAGES = ROOT / "docs" / "images"
COLUMNS, ROWS = 106, 60
MOST_LOOKS = 150
WORDS = {"current": "green", "promoted": "green", "refused": "red", "rejected": "red", "silent": "yellow"}


def modelcast(*words: str) -> list[str]:
    return [sys.executable, "-m", "modelcast.shared.cli", *words]


def on_a_terminal(*words: str) -> str:
    """Return what a command prints to a terminal, both streams, behind its prompt."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    process = subprocess.Popen(modelcast(*words), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said = bytearray()
    try:
        while piece := os.read(ours, 65_536):
            said += piece
    except OSError:
        pass   # Linux says so when the last writer is gone
    os.close(ours)
    process.wait()
    lines = [line.rstrip() for line in said.decode().replace("\r", "").split("\n")]
    return f"\x1b[1m$ modelcast {' '.join(words)}\x1b[0m\n" + "\n".join(lines).strip("\n")


def run(*words: str, status: int = 0) -> str:
    done = subprocess.run(modelcast(*words), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != status:
        sys.exit(f"modelcast {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def instance(folder: Path, name: str, trust: Path, *, accept: str, channel: str = "production") -> Iterator["subprocess.Popen[str]"]:
    """Run the demo's application; it is connected when this yields, and ends with the block."""
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "modelcast.consumer.demo_app", "--model", "fraud", "--channel", channel, "--instance", name,
                "--accept", accept, "--trust", str(trust), "--store", str(folder / name), "--end-with-stdin",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log, text=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def publish(folder: Path, version: str, key: Path, *options: str, status: int = 0) -> None:
    artifact = folder / "model.bin"
    artifact.write_text(f"weights of {version}")
    what = ("--model", "fraud", "--version", version, "--format", "files", "--key", str(key))
    run("publish", str(artifact), *what, *options, status=status)


def play(folder: Path) -> tuple[str, str]:
    """Return what ``fleet`` and ``dead-letters`` print in the end."""
    (key, public), (stranger, _) = generate(folder / "training"), generate(folder / "stranger")
    with ExitStack() as running:
        for name in ("web-1", "web-2", "web-3"):
            running.enter_context(instance(folder, name, public, accept=">=2,<3"))
        running.enter_context(instance(folder, "web-4", public, accept=">=2,<2.1"))
        running.enter_context(instance(folder, "stage-1", public, accept=">=2,<3", channel="staging"))
        publish(folder, "2.0.0", key, "--wait", "4")
        with instance(folder, "web-5", public, accept=">=2,<3") as dying:
            watch(lambda members: members.get("web-5", {}).get("version") is not None)
            dying.kill()
        publish(folder, "2.1.0", key, "--wait", "4", status=3)
        publish(folder, "2.2.0", stranger, "--channel", "staging", "--wait", "1", status=3)
        publish(folder, "2.1.1", key, "--channel", "staging", "--expires", "0.001", "--wait", "1", status=3)
        watch(lambda members: members["web-5"]["step"] == "silent")
        letters = json.loads(run("dead-letters", "list", "--json"))["dead_letters"]
        chosen = next(letter["id"] for letter in letters if letter["reason"] == "version-out-of-range")
        return on_a_terminal("fleet", "fraud"), "\n\n".join(
            (on_a_terminal("dead-letters", "list"), on_a_terminal("dead-letters", "explain", chosen))
        )


def watch(is_seen: Callable[[dict[str, dict[str, Any]]], bool]) -> None:
    """Watch the fleet until it is as it should be; the command looks every two seconds."""
    command = modelcast("fleet", "fraud", "--watch", "--json")
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        looks = (json.loads(line)["members"] for line in itertools.islice(watching.stdout, MOST_LOOKS))
        seen = any(is_seen({member["instance"]: member for member in members}) for members in looks)
        watching.terminate()
    if not seen:
        sys.exit("The fleet did not become what the picture shows.")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="modelcast-record-") as folder:
        node = PrivateNode(Path(folder) / "broker")
        os.environ.pop("MODELCAST_URL", None)
        os.environ["MODELCAST_AMQP_URL"] = node.start()
        try:
            fleet, letters = play(Path(folder))
        finally:
            node.stop()
    IMAGES.mkdir(exist_ok=True)
    for name, title, printed, words in (
        ("fleet", "What modelcast fleet prints", fleet, WORDS),
        ("dead-letters", "What modelcast dead-letters list and explain print", letters, {}),
    ):
        (IMAGES / f"{name}.svg").write_text(svg_of(title, printed, words=words), encoding="utf-8")


if __name__ == "__main__":
    main()
