"""What this host is found to be: its libraries, and the key files that are to be used."""

from pathlib import Path

import pytest

from modelcast.shared.doctor.findings import Case, Finding
from modelcast.shared.doctor.host_checks import check_host, missing_libraries
from modelcast.shared.keyfiles import generate


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    for name in ("training", "other"):
        generate(tmp_path / name)
    (tmp_path / "ring.toml").write_text(
        '[[key]]\nfile = "training.pub"\nmodels = ["fraud"]\nchannels = []\n\n[[key]]\nfile = "other.pub"\nmodels = []\nchannels = ["staging"]\n',
        encoding="utf-8",
    )
    return tmp_path


def found(keys: Path, *, key: str | None = None, trust: str | None = None, channel: str = "production") -> list[Finding]:
    case = Case("", "fraud", channel, keys=(str(keys / key),) if key else (), trust=(str(keys / trust),) if trust else ())
    return [finding for finding in check_host(case) if finding.subject != "python"]


def test_this_host_has_all_that_modelcast_needs(keys: Path) -> None:
    (told,) = check_host(Case(""))
    assert (told.subject, told.level) == ("python", "ok")


def test_libraries_that_are_missing_or_too_old_are_named_and_extras_do_not_count() -> None:
    told = list(missing_libraries([
        "click>=8", "click>=999", "no-such-library>=1", 'no-such-extra>=1; extra == "server"', "pika<1", 'nothing>1; sys_platform == "plan9"',
    ]))
    assert [line.split()[0] for line in told] == ["click", "no-such-library", "pika"]


def test_good_keys_are_fine_and_told_by_their_ids(keys: Path) -> None:
    told = found(keys, key="training.key", trust="training.pub")
    assert [(finding.subject, finding.level) for finding in told] == [("trust", "ok"), ("key", "ok")]
    assert told[0].facts["keys"] == [told[1].facts["key"]]
    assert "BEGIN" not in str(told)


def test_a_private_key_that_others_may_read_is_a_problem_with_the_command_that_mends_it(keys: Path) -> None:
    (keys / "training.key").chmod(0o644)
    (told,) = found(keys, key="training.key")
    assert told.level == "problem"
    assert told.remedy == f"Run: chmod 600 {keys / 'training.key'}"


@pytest.mark.parametrize(("key", "trust"), [("missing.key", None), (None, "missing.pub"), ("training.pub", None), (None, "training.key")])
def test_a_file_that_is_missing_or_the_wrong_half_is_a_problem(keys: Path, key: str | None, trust: str | None) -> None:
    (told,) = found(keys, key=key, trust=trust)
    assert told.level == "problem"
    assert told.remedy


def test_a_key_that_nobody_trusts_is_a_problem(keys: Path) -> None:
    *_, told = found(keys, key="other.key", trust="training.pub")
    assert told.level == "problem"
    assert "is refused by whoever trusts" in told.text


def test_public_keys_that_others_may_write_are_a_warning(keys: Path) -> None:
    (keys / "training.pub").chmod(0o666)
    (told,) = found(keys, trust="training.pub")
    assert told.level == "warning"
    assert "chmod go-w" in str(told.remedy)


@pytest.mark.parametrize(("channel", "lacks"), [("staging", []), ("production", ["may sign orders for production"])])
def test_a_ring_in_which_nobody_may_sign_for_the_channel_is_a_warning(keys: Path, channel: str, lacks: list[str]) -> None:
    warnings = [finding.text for finding in found(keys, trust="ring.toml", channel=channel) if finding.level == "warning"]
    assert len(warnings) == len(lacks)
    assert all(lack in text for lack, text in zip(lacks, warnings, strict=True))
