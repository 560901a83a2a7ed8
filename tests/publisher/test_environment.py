"""Modules become distributions with versions, or an error says what is missing."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import pytest

from modelcast.publisher.environment import _all_distributions, _distribution, environment, git_lineage
from modelcast.shared.errors import MisuseError
from modelcast.shared.manifest import Lineage


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
    subprocess.run(["git", "-C", str(tmp_path), "init", "-q"], check=True)
    assert git_lineage(tmp_path) == Lineage()
    subprocess.run(["git", "-C", str(tmp_path), *identity, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    lineage = git_lineage(tmp_path)
    assert len(lineage.commit or "") == 40
    assert lineage.dirty is False
    (tmp_path / "untracked").write_text("of no matter")
    assert git_lineage(tmp_path) == lineage
    subprocess.run(["git", "-C", str(tmp_path), "add", "untracked"], check=True)
    assert git_lineage(tmp_path).dirty is True


def test_an_editable_install_is_found_by_its_own_name() -> None:
    assert environment(["modelcast"]).dependencies == {"modelcast": metadata.version("modelcast")}


def test_a_package_that_was_installed_since_the_last_look_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisuseError):
        environment(["late_comer"])
    facts = tmp_path / "another_name-1.5.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: another-name\nVersion: 1.5\n")
    (facts / "top_level.txt").write_text("late_comer\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert environment(["late_comer"]).dependencies == {"another-name": "1.5"}


def test_a_distribution_of_the_same_name_that_holds_something_else_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, module in (("sought", "other"), ("provider", "sought")):
        facts = tmp_path / f"{name}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (facts / "RECORD").write_text(f"{module}/__init__.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    _all_distributions.cache_clear()
    assert environment(["sought"]).dependencies == {"provider": "1.0"}
    _all_distributions.cache_clear()
    _distribution.cache_clear()
