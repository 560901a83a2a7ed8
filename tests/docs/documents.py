"""Holds every JSON document that a command prints in a test to its schema in ``docs/reference/json``. A plugin of pytest.

What does not fit fails the test that printed it, at its end: an error within the command would be taken for one of its own. When all tests
ran, each schema must have been met by a document; where a command prints one of several, each of them.
"""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import jsonschema_rs
import pytest

from modelcast.shared.cli import output

SCHEMAS = Path(__file__).resolve().parents[2] / "docs/reference/json"
PROBLEMS: list[str] = []
"""What did not fit in the test that runs."""
MET: set[str] = set()
"""Which schemas some document met, by their names; of one that is several, which of them: ``promote: Rollout``."""
MISSED: list[str] = []
"""Those that none met, when all tests ran."""


@cache
def _validators(name: str) -> dict[str, jsonschema_rs.Draft202012Validator]:
    """What checks a document: by the name of the schema as a whole; of one that is several, by ``name: Part`` each of them as well."""
    told = json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))
    each = {f"{name}: {one['$ref'].rpartition('/')[2]}": {**one, "$defs": told["$defs"]} for one in told.get("anyOf", ())}
    return {label: jsonschema_rs.Draft202012Validator(schema) for label, schema in {name: told, **each}.items()}


def problems_of(command: str, document: object) -> list[str]:
    """What is wrong with a document of ``command``, which is as ``rollout status``, or ``error``."""
    name = command.replace(" ", "-")
    if not (SCHEMAS / f"{name}.json").is_file():
        return [f"docs/reference/json has no schema of what {command} prints"]
    errors = _validators(name)[name].iter_errors(_as_printed(document))
    return [f"{command}: {'.'.join(map(str, error.instance_path))}: {error.message}" for error in errors]


def _as_printed(document: object) -> Any:
    printed = json.loads(output.json_text(document))
    return json.loads(json.dumps(printed, ensure_ascii=False).encode("utf-8", "replace"))   # strangers' names may be half a character


def problems_of_printed(command: str, document: object) -> list[str]:
    """The same of one that the command really printed; notes which schemas it meets."""
    found, name = problems_of(command, document), command.replace(" ", "-")
    if not found:
        MET.update(label for label, validator in _validators(name).items() if validator.is_valid(_as_printed(document)))
    return found


def _command() -> str | None:
    """The command that runs, or None; ``modelcast`` is missing where a test calls a part of it."""
    context = click.get_current_context(silent=True)
    return None if context is None else context.command_path.removeprefix("modelcast ")


@pytest.fixture(scope="session", autouse=True)
def _documents_are_watched() -> Iterator[None]:
    print_document, make_error = output.Output.document, output.error_document

    def document(self: output.Output, document: Any) -> None:
        command = _command()
        if command is not None:
            PROBLEMS.extend(problems_of_printed(command, document))
        print_document(self, document)

    def error_document(error: Any) -> dict[str, object]:
        made = make_error(error)
        PROBLEMS.extend(problems_of_printed("error", made))
        return made

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output.Output, "document", document)
        patch.setattr(output, "error_document", error_document)
        yield


@pytest.fixture(autouse=True)
def _documents_fit_their_schemas() -> Iterator[None]:
    yield
    found = PROBLEMS.copy()
    PROBLEMS.clear()
    assert not found, "\n".join(found)


# --------------------------------------------------------------------------- when all tests ran


def never_met() -> list[str]:
    return sorted({label for path in SCHEMAS.glob("*.json") for label in _validators(path.stem)} - MET)


def _is_whole(config: pytest.Config) -> bool:
    some = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly")
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not any(getattr(config.option, name, None) for name in some)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a worker of pytest-xdist met."""
    MET.update(getattr(node, "workeroutput", {}).get("documents_met", ()))


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["documents_met"] = sorted(MET)
    elif _is_whole(session.config) and session.exitstatus == pytest.ExitCode.OK:
        MISSED.extend(never_met())
        if MISSED:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if MISSED:
        terminalreporter.write_line(f"No test printed a document of these schemas: {', '.join(MISSED)}", red=True)
