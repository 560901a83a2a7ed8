"""Dashboard and alert rules ask for what is exported, under the names and labels that it has."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelcast.consumer.metrics import COMMON, FAMILIES

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD, ALERTS, PLAYED = ROOT / "docs/monitoring/grafana-dashboard.json", ROOT / "docs/monitoring/alerts.yml", ROOT / "tests/docs/alerts_test.yml"
SERIES = {name: family for family in FAMILIES for name in family.series}
OF_PROMETHEUS = {"job", "instance", "le"}
FUNCTIONS = {
    "sum", "count", "min", "max", "avg", "by", "or", "and", "on", "vector", "time", "rate", "increase", "histogram_quantile", "label_values",
    "model", "channel",
}
"""What an expression may say beside our names; the last two are what the dashboard's variables list."""

rules: list[dict[str, Any]] = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
variables: dict[str, Any] = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
EXPRESSIONS = {
    **{rule["alert"]: rule["expr"] for rule in rules},
    **{f"panel {panel['id']}{target['refId']}": target["expr"] for panel in dashboard["panels"] for target in panel["targets"]},
    **{f"variable {name}": variable["query"]["query"] for name, variable in variables.items() if variable["type"] == "query"},
}


def each_expression() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("expression", EXPRESSIONS.values(), ids=EXPRESSIONS)


def selectors(expression: str) -> list[tuple[str, list[str]]]:
    """Each metric of an expression with the labels that it is chosen by."""
    found = re.findall(r"(modelcast_\w+)(?:\{([^}]*)\})?", expression)
    return [(name, re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) for name, matchers in found]


@each_expression()
def test_an_expression_names_only_what_is_exported(expression: str) -> None:
    asked = selectors(expression)
    assert asked
    known = {*COMMON, *OF_PROMETHEUS}
    for name, labels in asked:
        assert name in SERIES, name
        known |= set(SERIES[name].labels)
        assert set(labels) <= {*COMMON, *OF_PROMETHEUS, *SERIES[name].labels}, name
    for grouping in re.findall(r"by \(([^)]*)\)", expression):
        assert {label.strip() for label in grouping.split(",")} <= known
    rest = re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)|modelcast_\w+", " ", expression)
    assert set(re.findall(r"[a-z_]+", rest)) <= FUNCTIONS


@each_expression()
def test_what_only_rises_is_asked_how_much_it_rose_and_nothing_else_is(expression: str) -> None:
    for name, _ in selectors(expression):
        rises = SERIES[name].kind in {"counter", "histogram"}
        assert bool(re.search(rf"(?:rate|increase)\({name}\b", expression)) == rises, name


@pytest.mark.parametrize("rule", rules, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"Modelcast[A-Z]\w+", rule["alert"])
    assert set(rule["annotations"]) == {"summary", "description"}
    assert rule["labels"]["severity"] in {"warning", "critical"}
    kept = re.findall(r"by \(([^)]*)\)", rule["expr"])
    own = set(re.split(r",\s*", kept[0])) if kept else {*COMMON, *(label for name, _ in selectors(rule["expr"]) for label in SERIES[name].labels)}
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= own


def test_every_alert_is_played_by_the_rule_tests() -> None:
    played = yaml.safe_load(PLAYED.read_text())
    quiet = {test["alertname"] for test in played["tests"][0]["alert_rule_test"]}
    fired = set(re.findall(r'alertname="(\w+)"', PLAYED.read_text()))
    assert quiet == fired == {rule["alert"] for rule in rules}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool comes with Prometheus; what it would find was checked by hand")
@pytest.mark.parametrize("command", [("check", "rules", str(ALERTS)), ("test", "rules", str(PLAYED))], ids=["syntax", "played"])
def test_promtool_finds_nothing_wrong(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_can_be_imported_anywhere() -> None:
    assert dashboard["title"] == "modelcast"
    assert variables["datasource"]["type"] == "datasource"
    sources = [dashboard_part["datasource"]["uid"] for panel in dashboard["panels"] for dashboard_part in (panel, *panel["targets"])]
    assert set(sources) == {"${datasource}"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)) > 10
    assert all(panel["title"] and panel["description"].endswith(".") for panel in dashboard["panels"])
    used = set(re.findall(r"\$(\w+)", " ".join(EXPRESSIONS.values())))
    assert used <= {*variables, "__rate_interval", "__range"}


def test_no_two_panels_lie_upon_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for place in (panel["gridPos"] for panel in dashboard["panels"]):
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert not cells & taken
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_the_dashboard_shows_every_metric_that_it_should() -> None:
    shown = {name for expression in EXPRESSIONS.values() for name, _ in selectors(expression)}
    left_out = {family.name for family in FAMILIES if not shown & set(family.series)}
    assert left_out == {   # times that status() tells of one instance
        "modelcast_consumer_info", "modelcast_active_since_timestamp_seconds", "modelcast_last_contact_timestamp_seconds",
        "modelcast_last_verdict_timestamp_seconds",
    }
