"""The benchmarks run: small, once, never timed. What they measure is no test; that they still work is."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tests.benchmarks import page, svg
from tests.benchmarks.bars import Bar
from tests.benchmarks.contender import MIB
from tests.benchmarks.contenders import BY_NAME, FANOUT
from tests.benchmarks.fanout import Case, Plan, cases, run
from tests.benchmarks.ground import Ground, NoRoom
from tests.benchmarks.rounds import Measurement
from tests.benchmarks.summary import ratio


def measured(contender: str, number: int, seconds: float) -> Measurement:
    return Measurement(contender, 100 * MIB, 2, number, seconds, None, seconds, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, {})


def test_a_comparison_brings_the_artifact_to_every_instance_and_tells_the_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    contenders = [BY_NAME[name] for name in ("raw-tcp", "modelcast", "file-copy")]
    document = run(Plan([Case(MIB, 2)], contenders, rounds=1, directory=tmp_path))
    assert [plain["contender"] for plain in document["measurements"]] == ["raw-tcp", "modelcast", "file-copy"]
    assert all(plain["verified_seconds"] > 0 and plain["instance_cpu_seconds"] > 0 for plain in document["measurements"])
    ours = document["measurements"][1]
    assert ours["promoted_seconds"] >= ours["verified_seconds"]
    assert ours["server_peak_bytes"] > MIB
    assert ours["note"]["sent_bytes"] >= MIB
    assert not document["skipped"]
    json.dumps(document)
    printed = capsys.readouterr().out
    assert "1 MiB to 2 instances" in printed
    assert "raw TCP" in printed
    assert not list(tmp_path.iterdir())   # nothing is left on the disk


def test_sixteen_instances_get_a_smaller_artifact_and_no_case_is_played_twice() -> None:
    found = cases([64, 256, 512], [1, 16], size_for_16_mib=256)
    assert [(case.size // MIB, case.instances) for case in found] == [(64, 1), (64, 16), (256, 1), (256, 16), (512, 1)]


def test_a_place_without_room_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match="GiB free"):
        Ground(tmp_path, needed=1 << 60)
    assert not list(tmp_path.iterdir())


def test_a_ratio_is_taken_within_each_round() -> None:
    ours = [measured("modelcast", 0, 2.0), measured("modelcast", 1, 20.0), measured("modelcast", 2, 3.0)]
    theirs = [measured("raw-tcp", 0, 1.0), measured("raw-tcp", 1, 10.0)]
    assert ratio(ours, theirs) == pytest.approx(0.5)
    assert ratio(ours, []) is None


@pytest.mark.parametrize(("value", "is_least", "word"), [
    (2.0, True, "reached"), (0.5, True, "missed"), (2.0, False, "missed"), (1.0, False, "reached"), (None, True, "not measured"),
])
def test_a_bar_is_reached_or_missed_or_not_measured(value: float | None, is_least: bool, word: str) -> None:
    bar = Bar("something", 1.0, value, "s", is_least=is_least)
    assert bar.word == word
    assert Bar.from_plain(bar.to_plain()) == bar


def test_no_two_contenders_have_one_name() -> None:
    assert len({contender.name for contender in FANOUT}) == len(FANOUT)


def test_plots_are_documents_that_a_browser_can_read() -> None:
    bars = svg.bar_chart("Rates & more", "MB/s", [("here", [svg.Bar("<one>", 5, 4, 6), svg.Bar("two", 0, 0, 0)])])
    lines = svg.line_chart("Growth", "MiB", "MB/s", [svg.Line("one", [(64, 100), (128, 200)]), svg.Line("two", [(64, 10)])])
    for text in (bars, lines):
        assert ET.fromstring(text).tag.endswith("svg")
    assert svg.nice_ticks(930) == [0, 200, 400, 600, 800, 1000]


def test_the_plots_of_the_documentation_are_those_of_the_results_that_are_kept() -> None:
    for path, text in page.plots().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is stale. Run: make bench-docs"
