"""What a store is found to be: those that a real consumer left, and what can become of them."""

import os
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from tests.fakes.life import Life
from tests.fakes.specimens import manifest

from modelcast.consumer import ModelConsumer
from modelcast.consumer.store_check import check_store, environment_finding, file_system_of
from modelcast.shared.doctor.findings import Case, Finding
from modelcast.shared.keyfiles import public_pem
from modelcast.shared.manifest import Artifact, Environment
from modelcast.shared.roads import open_road
from modelcast.shared.signing import SigningKey

Found = Callable[..., dict[str, Finding]]


@pytest.fixture
def life(tmp_path: Path, signing_key: SigningKey) -> Iterator[Life]:
    (tmp_path / "depot").mkdir(mode=0o700)
    life = Life(open_road(f"file://{tmp_path / 'depot'}"), tmp_path, signing_key)
    yield life
    life.stop()


@pytest.fixture
def found(tmp_path: Path) -> Found:
    def found(*trust: Path, store: str = "a") -> dict[str, Finding]:
        findings = check_store(Case("", "fraud", trust=tuple(map(str, trust)), store=str(tmp_path / store)))
        return {finding.subject: finding for finding in findings}

    return found


@pytest.fixture
def serving(life: Life) -> ModelConsumer:
    """A consumer that serves 1.0.0."""
    life.publisher.publish({"a": 1}, model="fraud", version="1.0.0")
    consumer = life.joined()
    life.serves(consumer, "1.0.0")
    return consumer


def levels(findings: dict[str, Finding]) -> dict[str, str]:
    return {subject: finding.level.value for subject, finding in findings.items()}


def one_file(tmp_path: Path) -> Path:
    return next(path for path in sorted((tmp_path / "a/fraud/production/releases").rglob("files/*")) if path.is_file())


def test_a_store_in_use_is_fine_and_says_who_uses_it(serving: ModelConsumer, found: Found) -> None:
    told = found()
    assert set(levels(told).values()) == {"ok"}
    assert told["store lock"].facts["pid"] == os.getpid()
    assert told["active release"].facts["version"] == "1.0.0"
    assert f"Python {platform.python_version()}" in told["libraries"].text


def test_looking_at_a_store_takes_its_lock_from_nobody_and_makes_nothing(serving: ModelConsumer, found: Found, tmp_path: Path) -> None:
    before = sorted(path for path in (tmp_path / "a").rglob("*") if path.is_dir())
    found()
    assert serving.status().role == "receiver"
    serving.stop()
    assert "No process uses it now" in found()["store lock"].text
    serving.start()   # the lock is free again
    assert serving.status().role == "receiver"
    assert sorted(path for path in (tmp_path / "a").rglob("*") if path.is_dir()) == before
    assert set(levels(found(store="nowhere")).values()) == {"ok"}
    assert not (tmp_path / "nowhere").exists()


def test_a_store_that_has_no_release_yet_is_fine(life: Life, found: Found) -> None:
    life.publisher.publish({"a": 1}, model="other", version="1.0.0")   # makes the directory one of ours
    life.joined()
    told = found()
    assert "There is none yet" in told["active release"].text
    assert set(levels(told).values()) == {"ok"}


def test_a_release_whose_key_is_not_trusted_is_a_problem(
    serving: ModelConsumer, found: Found, tmp_path: Path, signing_key: SigningKey, other_key: SigningKey
) -> None:
    for name, key in (("good", signing_key), ("bad", other_key)):
        (tmp_path / f"{name}.pub").write_text(public_pem(key.trusted()), encoding="ascii")
    assert found(tmp_path / "good.pub")["active release"].level == "ok"
    told = found(tmp_path / "bad.pub")["active release"]
    assert (told.level, told.facts["reason"]) == ("problem", "unknown-key")


def test_a_file_of_the_release_that_is_gone_or_cut_is_a_problem(serving: ModelConsumer, found: Found, tmp_path: Path) -> None:
    file = one_file(tmp_path)
    file.chmod(0o600)
    file.write_bytes(file.read_bytes()[:-1])
    assert "bytes instead of" in found()["active release"].text
    file.unlink()
    told = found()["active release"]
    assert (told.level, "is missing" in told.text) == ("problem", True)


def test_a_store_that_others_may_write_is_a_problem(serving: ModelConsumer, found: Found, tmp_path: Path) -> None:
    folder = tmp_path / "a/fraud/production"
    folder.chmod(0o777)
    told = found()["store"]
    assert told.level == "problem"
    assert str(told.remedy) == f"Run: chmod go-w {folder}"


def test_a_release_that_the_pointer_names_and_that_is_gone_is_a_warning(serving: ModelConsumer, found: Found, tmp_path: Path) -> None:
    (tmp_path / "a/fraud/production/releases").rename(tmp_path / "elsewhere")
    assert found()["active release"].level == "warning"


@pytest.mark.parametrize(("kind", "level"), [("ext4", "ok"), ("overlay", "ok"), (None, "ok"), ("nfs4", "warning"), ("fuse.sshfs", "warning")])
def test_a_store_belongs_on_a_disk_of_this_host(kind: str | None, level: str) -> None:
    assert file_system_of(Path("/srv"), kind).level == level


HERE = {"python": platform.python_version(), "implementation": "cpython", "platform": "linux", "machine": "x86_64"}


@pytest.mark.parametrize(("format_", "environment", "level", "words"), [
    ("files", {"python": "2.7.18"}, "ok", "here it runs"),   # files do not care
    ("cloudpickle", {}, "ok", "here it runs"),
    ("cloudpickle", {"python": "3.4.0"}, "problem", "was pickled by cpython 3.4"),
    ("cloudpickle", {"implementation": "pypy"}, "problem", "was pickled by pypy"),
    ("files", {"dependencies": {"click": version("click")}}, "ok", f"click {version('click')}"),
    ("files", {"dependencies": {"click": "1.0.0"}}, "problem", "click built with 1.0.0"),
    ("files", {"dependencies": {"no-such-library": "1.0.0"}}, "problem", "not installed"),
])
def test_python_and_libraries_are_held_against_the_manifest(format_: str, environment: dict[str, object], level: str, words: str) -> None:
    described = manifest(
        artifact=Artifact(format=format_, loader=format_, files=manifest().artifact.files),
        environment=Environment.model_validate({**HERE, **environment}),
    )
    told = environment_finding(described)
    assert told.level == level, told.text
    assert words in told.text


def test_a_loader_that_is_not_here_is_a_warning() -> None:
    told = environment_finding(manifest(artifact=Artifact(format="custom", loader="custom", files=manifest().artifact.files)))
    assert told.level == "warning"


def test_without_a_store_or_a_model_nothing_is_looked_at(tmp_path: Path) -> None:
    assert list(check_store(Case("", "fraud"))) == []
    assert list(check_store(Case("", store=str(tmp_path)))) == []
