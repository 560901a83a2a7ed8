"""The commands as an operator types them, on a shared directory: the quickest road with all that they need."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from modelcast.consumer.deadletters.commands import dead_letters
from modelcast.shared.depot.depot import Depot

Run = Callable[..., Result]


@pytest.fixture
def depot_url(tmp_path: Path) -> str:
    """The address of an empty shared directory."""
    folder = tmp_path / "depot"
    folder.mkdir(mode=0o700)
    Depot(folder).enter()
    return f"file://{folder}"


@pytest.fixture
def call(depot_url: str) -> Run:
    """Calls ``modelcast dead-letters`` there; ``expects`` an error that the front door would turn into an exit status."""

    def call(*arguments: str, expects: type[Exception] | None = None, answers: str | None = None) -> Result:
        command = [*arguments, "--url", depot_url]
        result = CliRunner().invoke(dead_letters, command, input=answers, catch_exceptions=expects is not None, standalone_mode=False)
        assert expects is None or isinstance(result.exception, expects), result.exception
        return result

    return call
