"""The front door: commands by entry point, errors with exit codes, help that is quick because it imports nothing heavy."""

import json
import re
import subprocess
import sys
from importlib.metadata import entry_points

import click
import pytest

from modelcast.shared.cli.main import FrontDoor, run


def test_every_registered_command_can_be_reached_and_has_a_summary(capfd: pytest.CaptureFixture[str]) -> None:
    names = {point.name for point in entry_points(group="modelcast.commands")}
    assert {"publish", "keys", "dead-letters", "broker", "demo"} <= names
    assert run(["--help"]) == 0
    listed = capfd.readouterr().out
    for name in names:
        assert re.search(rf"^  {name} +\S", listed, re.MULTILINE), name
        assert run([name, "--help"]) == 0


def test_without_words_it_shows_help_and_a_wrong_word_is_a_usage_error(capfd: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    assert "Usage: modelcast" in "".join(capfd.readouterr())
    assert run(["nonsense"]) == 2
    assert "No such command" in capfd.readouterr().err


def test_our_errors_are_two_lines_or_one_document(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "show", "nowhere.pub"]) == 15
    captured = capfd.readouterr()
    assert captured.err.startswith("Error: Cannot read the key nowhere.pub")
    assert "Hint: " in captured.err
    assert run(["keys", "show", "nowhere.pub", "--json"]) == 15
    assert json.loads(capfd.readouterr().err)["exit_code"] == 15


def test_the_version_is_the_distribution_s(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert "modelcast, version" in capfd.readouterr().out


HEAVY = ("pika", "pydantic", "structlog", "rich", "cryptography", "cloudpickle", "numpy", "sklearn", "msgpack")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from modelcast.shared.cli.main import FrontDoor, run; run(['--help']); "
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == "[]"


def test_with_json_a_usage_error_is_a_document_too(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["nonsense", "--json"], ["keys", "show", "--json"], ["dead-letters", "list", "--json", "--limit", "none"]):
        assert run(words) == 2
        captured = capfd.readouterr()
        assert (captured.out, json.loads(captured.err)["exit_code"]) == ("", 2)


def test_what_nobody_expected_ends_with_one_sentence_and_the_traceback_only_when_asked(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("so\x1b[2J")

    command = click.Command("broken", callback=broken, params=[click.Option(["--json", "as_json"], is_flag=True, expose_value=False)])
    monkeypatch.setattr(FrontDoor, "get_command", lambda _self, _ctx, _name: command)
    assert run(["broken"]) == 1
    assert capfd.readouterr().err.splitlines()[0] == "Error: unexpected ZeroDivisionError: so\\x1b[2J"
    assert run(["broken", "--json"]) == 1
    assert json.loads(capfd.readouterr().err)["error"] == "ModelcastError"
    with pytest.raises(ZeroDivisionError):
        run(["--debug", "broken"])
