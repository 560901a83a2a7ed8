"""``modelcast publish`` as a training job types it, with real instances that answer."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelcast.consumer import ModelConsumer
from modelcast.publisher.catalog import Catalog
from modelcast.publisher.commands import conclusion, publish
from modelcast.publisher.waiting import Outcome
from modelcast.shared.errors import MisuseError
from modelcast.shared.keyfiles import generate
from modelcast.shared.roads import open_road

Run = Callable[..., Result]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return generate(tmp_path / "training")


@pytest.fixture
def run(broker_url: str, keys: tuple[Path, Path], tmp_path: Path) -> Run:
    path = tmp_path / "model.bin"
    path.write_bytes(b"weights")

    def run(version: str, *arguments: str) -> Result:
        words = [str(path), "--model", "fraud", "--version", version, "--format", "files", "--key", str(keys[0])]
        return CliRunner().invoke(publish, [*words, "--url", broker_url, *arguments], standalone_mode=False)

    return run


@pytest.fixture
def consumer(broker_url: str, keys: tuple[Path, Path], tmp_path: Path) -> ModelConsumer:
    return ModelConsumer(broker_url, model="fraud", trust=[keys[1]], store=tmp_path / "store", instance="web-1", accept="<2")


def test_waiting_prints_each_verdict_and_ends_by_them(run: Run, consumer: ModelConsumer) -> None:
    with consumer:
        good = run("1.0.0", "--wait", "1", "--timeout", "30")
        assert good.return_value == 0
        assert "web-1" in good.stdout
        assert "promoted" in good.stdout
        bad = run("2.0.0", "--wait-share", "1", "--timeout", "30")
        assert bad.return_value == 3
        assert "version-out-of-range" in bad.stdout
        assert consumer.active.version == "1.0.0"


def test_in_json_one_document_says_all(run: Run, consumer: ModelConsumer) -> None:
    with consumer:
        done = run("1.0.0", "--wait", "1", "--timeout", "30", "--json", "--metric", "auc=0.98", "--dataset", "toy")
        document = json.loads(done.stdout)
        assert document["publication"]["version"] == "1.0.0"
        assert document["outcome"]["promoted"] == ["web-1"]
        manifest = consumer.active.manifest
        assert (manifest.training.metrics, manifest.lineage.dataset) == ({"auc": 0.98}, "toy")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--wait", "0"), ("--wait", "1", "--wait-share", "0.5"), ("--wait-share", "1.5"), ("--wait-share", "nan"),
        ("--wait", "1", "--timeout", "nan"), ("--wait", "1", "--timeout", "-1"), ("--expires", "nan"), ("--expires", "-1"),
    ],
)
def test_a_wish_that_cannot_be_fulfilled_is_refused_before_anything_is_published(run: Run, arguments: tuple[str, ...]) -> None:
    assert isinstance(run("1.0.0", *arguments).exception, MisuseError)
    assert json.loads(run("1.0.0", "--json").stdout)["publication"]["was_current"] is False


def test_a_strangers_name_never_reaches_the_terminal_as_it_is() -> None:
    text = conclusion(Outcome({}, {}, {}, ("\x1b[2Jevil\r\n",), 1, timed_out=True))
    assert text.isprintable()
    assert "evil" in text


def test_it_says_when_verdicts_may_be_missing() -> None:
    text = conclusion(Outcome({}, {}, {}, (), 1, timed_out=True, fault="No RabbitMQ answers."))
    assert text.endswith("asked for: 1. Verdicts may be missing: No RabbitMQ answers.")


def test_a_release_that_an_instance_serves_already_is_not_waited_for(run: Run, consumer: ModelConsumer) -> None:
    with consumer:
        assert run("1.0.0", "--wait", "1", "--timeout", "30").return_value == 0
        again = run("1.0.0", "--wait", "1", "--timeout", "30")
        assert again.return_value == 0
        assert "nothing to do" in again.stdout


def test_samples_and_schemas_come_from_json_files(run: Run, broker_url: str, tmp_path: Path) -> None:
    files = {"samples": {"inputs": [[1, 2]], "answers": [3], "method": "total", "rtol": 1, "atol": 0.5}}
    files |= {"input-schema": {"kind": "pair"}, "output-schema": {"kind": "sum"}}
    options: list[str] = []
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        options += [f"--{name}", str(tmp_path / f"{name}.json")]
    assert run("1.0.0", *options).return_value == 0
    session = open_road(broker_url).publish("fraud", "production")
    manifest = Catalog(session.register.read()).releases[0].manifest
    session.close()
    assert manifest.samples is not None
    assert (manifest.samples.method, manifest.samples.count, manifest.samples.rtol, manifest.samples.atol) == ("total", 1, 1.0, 0.5)
    assert (manifest.input_schema, manifest.output_schema) == ({"kind": "pair"}, {"kind": "sum"})


@pytest.mark.parametrize("content", [
    {}, {"inputs": [1]}, {"inputs": [1], "answers": [1], "metod": "predict"}, {"inputs": [1], "answers": [1], "rtol": "small"},
    {"inputs": [1], "answers": [1], "method": 7}, {"inputs": [1], "answers": [1], "atol": True},
    {"inputs": [1], "answers": [1], "rtol": -1}, {"inputs": [1], "answers": [1], "method": "no method"},
])
def test_a_file_without_samples_is_refused(run: Run, tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "samples.json").write_text(json.dumps(content))
    assert isinstance(run("1.0.0", "--samples", str(tmp_path / "samples.json")).exception, MisuseError)


def test_options_that_cannot_be_read_are_refused(run: Run, tmp_path: Path) -> None:
    assert "is no metric" in str(run("1.0.0", "--metric", "auc").exception)
    assert "is no dependency" in str(run("1.0.0", "--dependency", "numpy").exception)
    (tmp_path / "t.json").write_text("[1]")
    assert "one JSON object" in str(run("1.0.0", "--training", str(tmp_path / "t.json")).exception)
    assert isinstance(run("1.0.0", "--training", str(tmp_path / "no.json")).exception, MisuseError)


def test_a_file_that_would_be_packed_travels_as_it_is_when_told_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights " * 40_000)
    packed, plain = (
        json.loads(run("1.0.0", "--model", f"fraud{len(more)}", "--json", *more).stdout)["publication"] for more in ((), ("--no-pack",))
    )
    assert packed["wire_bytes"] < packed["sent_bytes"] == plain["sent_bytes"] == plain["wire_bytes"]
