"""A shared directory without a broker: real processes, killed for real, and the commands as a user types them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.end_to_end.conftest import InstanceProcess
from tests.end_to_end.test_killed_processes import KILLED_PUBLISHER, noise, publish

from modelcast.publisher import Publisher
from modelcast.shared.depot.depot import Depot
from modelcast.shared.limits import MIB

Start = Callable[..., InstanceProcess]
Modelcast = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """An empty depot, as an address."""
    (tmp_path / "depot").mkdir(mode=0o700)
    Depot(tmp_path / "depot").enter()
    return f"file://{tmp_path / 'depot'}"


@pytest.fixture
def start(url: str, keys: tuple[Path, Path], tmp_path: Path) -> Iterator[Start]:
    """Starts processes of instances; all are ended at the end."""
    running: list[InstanceProcess] = []

    def start(name: str = "one", refused: tuple[str, ...] = (), url: str = url) -> InstanceProcess:
        running.append(InstanceProcess(url, "fraud", tmp_path / f"store-{name}", keys[1], name, refused))
        return running[-1]

    yield start
    for process in running:
        process.close()


@pytest.fixture
def modelcast(url: str, tmp_path: Path) -> Modelcast:
    """Runs ``modelcast`` as a user does, with the directory in the environment."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MODELCAST_URL": url}
        return subprocess.run(
            [sys.executable, "-m", "modelcast.shared.cli", *map(str, arguments)], capture_output=True, text=True, cwd=tmp_path,
            env=environment, timeout=120, check=False,
        )

    return run


def connected(instance: InstanceProcess) -> InstanceProcess:
    instance.wait_for(lambda status: status["connected"], "a connection")
    return instance


def test_a_release_is_published_waited_for_refused_explained_and_pruned_by_commands(
    modelcast: Modelcast, start: Start, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    for name in ("one", "two"):
        connected(start(name, refused=("1.1.0",)))
    path = noise(tmp_path / "model", 1)

    def command(version: str, *more: object) -> subprocess.CompletedProcess[str]:
        return modelcast(
            "publish", path, "--model", "fraud", "--version", version, "--format", "files", "--key", keys[0], "--wait", "2",
            "--timeout", "60", *more,
        )

    done = command("1.0.0")
    assert done.returncode == 0, done.stderr
    assert "2 promoted" in done.stderr
    refused = command("1.1.0", "--json")
    assert refused.returncode == 3, refused.stderr
    outcome = json.loads(refused.stdout)["outcome"]
    assert [(each["instance"], each["reason"]) for each in outcome["rejected"]] == [("one", "validator-failed"), ("two", "validator-failed")]
    listed = json.loads(modelcast("dead-letters", "list", "--json").stdout)["dead_letters"]
    assert [(letter["instance"], letter["version"], letter["reason"]) for letter in listed] == [
        (name, "1.1.0", "validator-failed") for name in sorted(("one", "two"), key=[letter["instance"] for letter in listed].index)
    ]
    for question in ("explain", "show"):
        answer = modelcast("dead-letters", question, listed[0]["id"])
        assert answer.returncode == 0, answer.stderr
        assert "validator" in answer.stdout
    for version in ("1.2.0", "1.3.0", "1.4.0"):
        assert command(version).returncode == 0
    pruned = modelcast("prune", "--model", "fraud", "--keep", "1")
    assert pruned.returncode == 0, pruned.stderr
    assert "gone" in pruned.stdout


def test_publishers_killed_again_and_again_leave_nothing_that_an_instance_could_take_for_whole(
    url: str, keys: tuple[Path, Path], start: Start, tmp_path: Path
) -> None:
    instance = start()
    publish(url, keys[0], noise(tmp_path / "first", 1), "1.0.0")
    instance.serves("1.0.0")
    path = noise(tmp_path / "model", 32, seed=1)
    for done_bytes in (1, 8 * MIB, 20 * MIB, 32 * MIB):
        killed = subprocess.run(
            [sys.executable, "-c", KILLED_PUBLISHER, url, str(keys[0]), str(path), str(done_bytes)], check=False, timeout=60
        )
        assert killed.returncode == -signal.SIGKILL
    publication = Publisher(url, signing_key=keys[0]).publish(path, model="fraud", version="1.1.0", format="files", lineage={})
    assert publication.sent_bytes <= MIB   # all but the chunk that the last one was at
    instance.serves("1.1.0")
    status = instance.wait_for(lambda status: status["promoted"] == 2, "the promotion to be told")
    assert status["rejected"] == 0
    assert list((Path(url.removeprefix("file://")) / "models" / "fraud" / "chunks").rglob(".tmp-*")) == []   # instances write elsewhere


def test_an_instance_killed_while_receiving_serves_what_it_had_and_takes_up_what_it_has(
    url: str, keys: tuple[Path, Path], start: Start, tmp_path: Path
) -> None:
    instance = start()
    publish(url, keys[0], noise(tmp_path / "first", 1), "1.0.0")
    instance.serves("1.0.0")
    with ThreadPoolExecutor(1) as background:
        publishing = background.submit(publish, url, keys[0], noise(tmp_path / "big", 256, seed=2), "2.0.0")
        instance.wait_for(lambda status: status["state"] in {"ahead", "receiving"}, "receiving, ahead of the order or after it")
        instance.kill()
        publishing.result(60)
    away = start(url="file:///nowhere/at/all")
    status = away.serves("1.0.0")   # the last good one, before and without a connection
    assert not status["connected"]
    away.wait_for(lambda status: status["fault"] and "There is no directory" in status["fault"], "the fault to be told")
    away.close()
    again = start()
    again.serves("2.0.0")
    assert again.wait_for(lambda status: status["promoted"] == 1, "the promotion to be told")["rejected"] == 0


def test_a_bit_that_flipped_on_the_disk_is_refused_and_sending_again_mends_the_directory(
    url: str, keys: tuple[Path, Path], start: Start, tmp_path: Path, modelcast: Modelcast
) -> None:
    path = noise(tmp_path / "model", 4)
    publish(url, keys[0], path, "1.0.0")
    chunks = [chunk for chunk in Path(url.removeprefix("file://")).glob("models/fraud/chunks/*/*") if chunk.stat().st_size == MIB]
    content = bytearray(chunks[0].read_bytes())
    content[MIB // 2] ^= 1
    chunks[0].write_bytes(content)
    instance = start()
    instance.wait_for(lambda status: (status["last_verdict"] or {}).get("reason") == "chunk-damaged", "the refusal")
    done = modelcast(
        "publish", path, "--model", "fraud", "--version", "1.0.0", "--format", "files", "--key", keys[0], "--resend", "--wait", "1",
        "--timeout", "60",
    )
    assert done.returncode == 0, done.stderr
    instance.serves("1.0.0")


def test_two_publishing_processes_at_once_both_get_through(
    url: str, keys: tuple[Path, Path], start: Start, tmp_path: Path, modelcast: Modelcast
) -> None:
    instance = connected(start())
    paths = [noise(tmp_path / f"model-{number}", 16, seed=number) for number in range(3)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "modelcast.shared.cli", "publish", str(path), "--model", "fraud", "--version", f"1.{number}.0",
             "--format", "files", "--key", str(keys[0])],
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "MODELCAST_URL": url}, stdout=subprocess.DEVNULL, cwd=tmp_path,
        )
        for number, path in enumerate(paths)
    ]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    instance.serves("1.2.0")
    orders = sorted((Path(url.removeprefix("file://")) / "models/fraud/channels/production/orders").iterdir())
    assert [path.name for path in orders] == [f"{number:012d}" for number in (1, 2, 3)]


def test_what_is_wrong_with_a_directory_is_told_in_a_sentence_with_what_to_do(
    url: str, keys: tuple[Path, Path], tmp_path: Path, modelcast: Modelcast
) -> None:
    path = noise(tmp_path / "model", 1)

    def check(address: str, code: int, sentence: str, hint: str) -> None:
        done = modelcast(
            "publish", path, "--model", "fraud", "--version", "1.0.0", "--format", "files", "--key", keys[0], "--url", address
        )
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert sentence in done.stderr
        assert hint in done.stderr
        assert "Traceback" not in done.stderr

    depot = Path(url.removeprefix("file://"))
    check("file:///nowhere/models", 29, "There is no directory", "mounted")
    check("file://models", 2, "no address of a directory", "three slashes")
    check(f"{url}?pol=1", 2, "no option", "poll")
    (tmp_path / "file").write_bytes(b"x")
    check(f"file://{tmp_path / 'file'}", 29, "There is no directory", "mkdir")
    check(f"file://{tmp_path}", 29, "holds other things", "empty directory")
    depot.chmod(0o777)
    check(url, 29, "Other users may write", "allow_shared_writes=yes")
    depot.chmod(0o700)
    (depot / "models").write_bytes(b"a file in the place of a folder")
    (depot / "modelcast-depot").write_bytes(b"modelcast depot 1\n")
    check(url, 23, "models", "")


def test_a_directory_on_a_full_file_system_is_told_and_leaves_nothing_that_counts(
    keys: tuple[Path, Path], tmp_path: Path, modelcast: Modelcast
) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", mount], check=False).returncode:
        pytest.skip("no small file system can be mounted here")
    try:
        words = ["--model", "fraud", "--format", "files", "--key", keys[0], "--url", f"file://{mount}"]
        done = modelcast("publish", noise(tmp_path / "big", 8), "--version", "1.0.0", *words)
        assert done.returncode == 23, done.stderr
        assert "No space left" in done.stderr
        assert "Free space" in done.stderr
        assert list((mount / "models/fraud/channels/production/orders").iterdir()) == []
        subprocess.run(["mount", "-o", "remount,size=64m", mount], check=True)
        again = modelcast("publish", tmp_path / "big", "--version", "1.0.0", *words, "--json")
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["publication"]["sent_bytes"] < 8 * MIB
        subprocess.run(["mount", "-o", "remount,ro", mount], check=True)
        read_only = modelcast("publish", tmp_path / "big", "--version", "1.1.0", *words)
        assert read_only.returncode == 23, read_only.stderr
        assert "read-only" in read_only.stderr
    finally:
        subprocess.run(["umount", mount], check=True)
