"""Each likely mistake on the command line ends with its own exit code, one sentence and a hint, and no traceback."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelcast.publisher import Publisher
from modelcast.shared.broker_url import BrokerUrl

Modelcast = Callable[..., subprocess.CompletedProcess[str]]
GOOD = {"--model": "fraud", "--version": "1.0.0", "--format": "files"}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def publish(modelcast: Modelcast, keys: tuple[Path, Path], model: Path) -> Modelcast:
    def run(path: Path = model, url: str | None = None, **changes: object) -> subprocess.CompletedProcess[str]:
        options = GOOD | {"--key": str(keys[0])} | {f"--{name}": value for name, value in changes.items()}
        words = [word for pair in options.items() for word in pair]
        return modelcast("publish", path, *words, **({"url": url} if url else {}))

    return run


def check(done: subprocess.CompletedProcess[str], code: int, sentence: str, hint: str) -> None:
    assert done.returncode == code, done.stderr
    assert sentence in done.stderr
    assert f"Hint: {hint}" in done.stderr or hint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_no_broker(publish: Modelcast, modelcast: Modelcast) -> None:
    check(publish(url="amqp://127.0.0.1:1/"), 4, "No RabbitMQ answers at 127.0.0.1:1", "modelcast broker start")
    check(modelcast("dead-letters", "list", url=None), 4, "No broker is named", "export MODELCAST_AMQP_URL")


def test_a_wrong_password(publish: Modelcast, broker_url: str) -> None:
    url = BrokerUrl.parse(broker_url)
    wrong = f"amqp://{url.user}:wrong-secret@{url.host}:{url.port}/{url.vhost}"
    done = publish(url=wrong)
    check(done, 5, f"refuses user '{url.user}'", "rabbitmqctl change_password")
    assert "wrong-secret" not in done.stderr


def test_no_such_vhost(publish: Modelcast, broker_url: str) -> None:
    check(publish(url=broker_url.rpartition("/")[0] + "/nowhere"), 6, "no virtual host 'nowhere'", "rabbitmqctl add_vhost nowhere")


@pytest.mark.parametrize("name", ["fraud/eu", "Fraud", "", "a" * 65, "../x", "fraud\x1b[31m"])
def test_a_name_that_is_none(publish: Modelcast, name: str) -> None:
    done = publish(model=name)
    check(done, 11, "is no model name", "Use 1 to 64 of a-z")
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "1.0.0.0", "latest", "01.0.0"])
def test_a_version_that_is_no_semver(publish: Modelcast, version: str) -> None:
    check(publish(version=version), 12, "is no SemVer version", "MAJOR.MINOR.PATCH")


def test_an_empty_file(publish: Modelcast, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    check(publish(tmp_path / "empty"), 14, "holds no bytes", "Was the model saved")


def test_a_missing_path(publish: Modelcast, tmp_path: Path) -> None:
    check(publish(tmp_path / "nowhere"), 15, "does not exist", "Give the path of a model file")


def test_a_key_that_is_no_key(publish: Modelcast, model: Path, keys: tuple[Path, Path]) -> None:
    check(publish(key=model), 16, "is no private key", "modelcast keys generate")
    check(publish(key=keys[1]), 16, "is no private key", "public half")
    keys[0].chmod(0o644)
    check(publish(key=keys[0]), 16, "can be read by others", "chmod 600")


def test_the_same_version_with_other_bytes(publish: Modelcast, model: Path) -> None:
    assert publish().returncode == 0
    again = publish()
    assert again.returncode == 0
    assert "nothing to do" in again.stdout
    model.write_bytes(b"other weights")
    check(publish(), 17, "with other bytes", "publish these bytes under a higher version")


def test_another_publisher_in_the_way(broker_url: str, keys: tuple[Path, Path], model: Path) -> None:
    publisher = Publisher(broker_url, signing_key=keys[0], busy_seconds=0.0)
    publisher.publish(model, model="fraud", version="1.0.0", format="files", lineage={})
    session = publisher._road.publish("fraud", "production")
    with pytest.raises(Exception, match="Somebody else is publishing or ordering") as caught:
        publisher.publish(model, model="fraud", version="1.1.0", format="files", lineage={})
    session.close()
    assert getattr(caught.value, "exit_code", None) == 20


def test_nobody_there_to_wait_for(publish: Modelcast) -> None:
    done = publish(wait=1, timeout=1)
    assert done.returncode == 10
    assert "Time is over" in done.stderr


def test_in_json_errors_are_json_too(modelcast: Modelcast) -> None:
    done = modelcast("dead-letters", "list", "--json", url="amqp://user:secret@127.0.0.1:1/")
    error = json.loads(done.stderr)
    assert (done.returncode, error["error"], error["exit_code"]) == (4, "BrokerUnreachable", 4)
    assert "secret" not in done.stderr


def test_usage_errors_and_help(modelcast: Modelcast) -> None:
    assert modelcast("publish").returncode == 2
    assert modelcast("nonsense").returncode == 2
    for command in ("publish", "keys", "dead-letters", "broker", "demo"):
        done = modelcast(command, "--help")
        assert done.returncode == 0
        assert "Example" in done.stdout
