"""Modules become distributions with versions, or an error says what is missing."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from modelcast.publisher.environment import environment, git_lineage
from modelcast.shared.errors import MisuseError


def test_modules_are_found_under_the_name_of_their_distribution() -> None:
    found = environment(["sklearn", "numpy"])
    assert found.dependencies == {"scikit-learn": metadata.version("scikit-learn"), "numpy": metadata.version("numpy")}
    assert found.captured
    assert found.python == platform.python_version()


def test_a_module_of_no_package_is_an_error_with_ways_out() -> None:
    with pytest.raises(MisuseError, match="my_private_code") as caught:
        environment(["my_private_code"])
    assert "register_pickle_by_value" in (caught.value.hint or "")


def test_given_dependencies_are_taken_as_they_are() -> None:
    found = environment(["my_private_code"], {"torch": "2.13.0"})
    assert (found.dependencies, found.captured) == ({"torch": "2.13.0"}, False)


def test_the_commit_is_recorded_where_there_is_one_and_nothing_where_there_is_none(tmp_path: Path) -> None:
    assert git_lineage(tmp_path).commit is None
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    lineage = git_lineage(tmp_path)
    assert len(lineage.commit or "") == 40
    assert lineage.dirty is False


def test_an_editable_install_is_found_by_its_own_name() -> None:
    assert environment(["modelcast"]).dependencies == {"modelcast": metadata.version("modelcast")}
