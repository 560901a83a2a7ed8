"""The command ``modelcast broker`` as a person calls it."""

import json
import subprocess
import sys

import pytest

from modelcast.shared.cli.main import run
from modelcast.shared.localbroker.chooser import ensure_installed
from modelcast.shared.localbroker.node import PrivateNode


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory):
    ensure_installed(print)
    folder = tmp_path_factory.mktemp("commands") / "broker"
    yield folder
    PrivateNode(folder).stop()


def _run(capsys, *words):
    status = run(["broker", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_a_node_is_started_looked_at_and_stopped(state_dir, capsys):
    where = ("--state-dir", str(state_dir))
    assert _run(capsys, "status", *where) == (3, "not running\n", "")

    status, out, err = _run(capsys, "start", *where)
    assert status == 0
    assert out == PrivateNode(state_dir).application_url + "\n"   # and nothing else: it goes into a variable
    assert "private RabbitMQ node" in err

    status, out, _ = _run(capsys, "status", "--json", *where)
    assert status == 0
    document = json.loads(out)
    assert (document["running"], document["url"]) == (True, PrivateNode(state_dir).application_url)
    assert f"127.0.0.1:{document['stream_port']}" in _run(capsys, "status", *where)[1]

    status, out, _ = _run(capsys, "start", "--json", *where)
    assert json.loads(out)["started_here"] is False

    assert _run(capsys, "start", "--port", "26000", *where)[0] == 2   # it runs on another one
    assert len(_run(capsys, "logs", "-n", "5", *where)[1].splitlines()) <= 5
    assert "RabbitMQ" in "".join(json.loads(_run(capsys, "logs", "-n", "9999", "--json", *where)[1])["lines"])

    status, out, _ = _run(capsys, "stop", "--json", *where)
    assert (status, json.loads(out)) == (0, {"stopped": True})
    assert _run(capsys, "stop", *where)[2] == "The private RabbitMQ node did not run.\n"
    assert json.loads(_run(capsys, "status", "--json", *where)[1])["running"] is False


@pytest.mark.parametrize("command", ["start", "status", "stop", "logs"])
def test_the_help_of_every_command_shows_an_example(command, capsys):
    _, out, _ = _run(capsys, command, "--help")
    assert f"modelcast broker {command}" in out


def test_importing_the_commands_loads_nothing_heavy():
    program = (
        "import sys, modelcast.shared.localbroker.commands;"
        "print(sorted({'pika', 'filelock', 'rich', 'pydantic', 'modelcast.shared.localbroker.node'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
