"""``modelcast doctor`` and ``modelcast topology`` as a user runs them."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from tests.shared.cli.test_main import HEAVY

from modelcast.shared.cli.main import run
from modelcast.shared.depot.depot import Depot
from modelcast.shared.keyfiles import generate
from modelcast.shared.permissions import Role, patterns

Told = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Told:
    """Runs a command; returns its exit code, what it printed (as a value with ``--json``), and what it said besides."""

    def told(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code, printed = run(list(words)), capsys.readouterr()
        return code, json.loads(printed.out) if {"--json", "--definitions"} & {*words} else printed.out, printed.err

    return told


@pytest.fixture
def url(tmp_path: Path) -> str:
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    Depot(folder).enter()
    return f"file://{folder}"


def test_importing_the_commands_loads_click_only() -> None:
    code = f"import sys, modelcast.shared.doctor.commands; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_every_room_brings_its_checks() -> None:
    assert {point.name: point.load().__module__ for point in entry_points(group="modelcast.checks")} == {
        "releases": "modelcast.publisher.retention_check", "store": "modelcast.consumer.store_check",
    }


# --------------------------------------------------------------------------- doctor


def test_where_all_is_well_it_ends_with_0_and_says_what_it_looked_at(told: Told, url: str, tmp_path: Path) -> None:
    generate(tmp_path / "training")
    code, text, said = told(
        "doctor", "--url", url, "--model", "fraud", "--role", "instance", "--trust", str(tmp_path / "training.pub"),
        "--store", str(tmp_path / "store"),
    )
    assert code == 0
    subjects = [line[9:].partition(":")[0] for line in text.splitlines() if not line.startswith(" ")]
    assert subjects == ["directory", "file system", "space", "writing", "clock", "python", "trust", "store disk", "store", "store space"]
    assert "Permissions were not looked at" not in said
    assert said.splitlines()[-1].startswith("0 problems, ")


def test_a_problem_ends_with_33_and_says_what_to_do(told: Told, url: str, tmp_path: Path) -> None:
    generate(tmp_path / "training")
    (tmp_path / "training.key").chmod(0o644)
    words = ["doctor", "--url", url, "--key", str(tmp_path / "training.key")]
    code, text, said = told(*words)
    assert code == 33
    assert f"         Do: Run: chmod 600 {tmp_path / 'training.key'}" in text.splitlines()
    assert said.splitlines()[-1].startswith("1 problem, ")
    code, document, _ = told(*words, "--json")
    assert (code, document["ok"]) == (33, False)
    (bad,) = [finding for finding in document["findings"] if finding["level"] == "problem"]
    assert set(bad) == {"level", "subject", "text", "remedy", "facts"}
    assert bad["facts"]["error"] == "InvalidKey"


def test_with_a_warning_it_ends_with_0(told: Told, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o700)
    code, document, said = told("doctor", "--url", f"file://{folder}", "--json")
    assert (code, document["ok"]) == (0, True)
    assert "warning" in {finding["level"] for finding in document["findings"]}
    assert "Permissions were not looked at" in said


def test_a_broker_is_looked_at_whole(told: Told, broker_url: str) -> None:
    code, document, _ = told("doctor", "--url", broker_url, "--model", "fraud", "--role", "publisher", "--json")
    assert code == 0
    assert [finding["subject"] for finding in document["findings"]] == [
        "broker", "version", "stream protocol", "permissions", "message size", "clock", "python",
    ]
    code, text, _ = told("doctor", "--url", "amqp://guest@127.0.0.1:9/")
    assert code == 33
    assert text.startswith("problem  broker: No RabbitMQ answers")
    assert "\nok       python: " in text   # the rest is looked at all the same


def test_without_any_road_this_host_is_looked_at(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MODELCAST_URL", "MODELCAST_URL_FILE", "MODELCAST_AMQP_URL", "MODELCAST_AMQP_URL_FILE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    code, text, _ = told("doctor")
    assert code == 33
    assert text.startswith("problem  road: No road is named")
    assert "ok       python: " in text


@pytest.mark.parametrize(("words", "code"), [
    (["--role", "instance"], 2), (["--store", "here"], 2), (["--role", "king", "--model", "fraud"], 2), (["--model", "Fraud"], 11),
    (["--model", "fraud", "--channel", "chunks"], 11), (["--model", "fraud", "--instance", "a b"], 11),
    (["--url", "gopher://somewhere"], 2), (["--url", "file://relative"], 2), (["--url", "https://"], 2), (["--url", "amqp://"], 2),
])
def test_what_cannot_be_asked_is_said_before_anything_is_looked_at(told: Told, words: list[str], code: int, url: str) -> None:
    assert told("doctor", *([] if "--url" in words else ["--url", url]), *words)[:2] == (code, "")


# --------------------------------------------------------------------------- topology


def test_the_topology_names_everything_with_its_arguments(told: Told) -> None:
    code, text, _ = told("topology", "--model", "fraud", "--channel", "staging", "--instance", "web-1")
    assert code == 0
    for name in ("chunks", "releases", "publishing", "staging", "staging.history", "staging.announcements", "staging.at.web-1"):
        assert f"modelcast.fraud.{name} " in text
    assert "x-queue-type=stream x-max-length-bytes=21474836480" in text
    assert "classic queue, bound to modelcast.fraud.staging and modelcast.fraud.staging.announcements" in text
    _, document, _ = told("topology", "--model", "fraud", "--instance", "web-1", "--quorum", "--json")
    (queue,) = [part for part in document["parts"] if part["name"].endswith(".at.web-1")]
    assert (queue["kind"], queue["arguments"]["x-overflow"]) == ("quorum queue", "reject-publish")


@pytest.mark.parametrize("role", Role)
def test_the_line_of_a_role_can_be_run_as_it_is(told: Told, role: Role) -> None:
    least = patterns(role, [("fraud", "production")])
    words = ["topology", "--model", "fraud", "--permissions", role.value, "--user", "somebody", "--vhost", "ml"]
    _, text, _ = told(*words)
    assert text == least.command("somebody", "ml") + "\n"
    shown = subprocess.run(["sh", "-c", text.replace("rabbitmqctl", "printf '%s\\n'")], capture_output=True, text=True, timeout=10, check=True)
    assert shown.stdout.splitlines() == ["set_permissions", "-p", "ml", "somebody", least.configure, least.write, least.read]
    _, document, _ = told(*words, "--json")
    assert (document["configure"], document["write"], document["read"]) == (least.configure, least.write, least.read)


def test_definitions_hold_several_models_once_and_the_permissions_over_all(told: Told) -> None:
    _, document, _ = told(
        "topology", "--model", "fraud", "--model", "churn", "--channel", "staging", "--channel", "production", "--definitions",
        "--permissions", "publisher", "--user", "training",
    )
    names = [queue["name"] for queue in document["queues"]]
    assert len(names) == len(set(names))
    assert {"modelcast.fraud.staging.history", "modelcast.churn.production.history"} <= {*names}
    targets = [(model, channel) for model in ("fraud", "churn") for channel in ("staging", "production")]
    assert document["permissions"][0]["write"] == patterns(Role.PUBLISHER, targets).write


@pytest.mark.parametrize(("words", "code"), [
    ([], 2), (["--model", "fraud", "--user", "a"], 2), (["--model", "fraud", "--permissions", "publisher"], 2), (["--model", "Fraud"], 11),
    (["--model", "fraud", "--channel", "chunks"], 11), (["--model", "fraud", "--instance", "*"], 11),
])
def test_what_has_no_topology_is_an_error(told: Told, words: list[str], code: int) -> None:
    assert told("topology", *words)[0] == code


def test_an_instance_with_a_strange_name_gets_no_permissions(told: Told) -> None:
    words = ["topology", "--model", "fraud", "--permissions", "instance", "--user", "a", "--instance"]
    assert told(*words, ".*")[0] == 11
    assert told(*words, "web-1")[0] == 0
