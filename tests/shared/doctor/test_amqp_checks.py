"""What a broker is found to be: a real one, as users with and without permissions, and one in memory whose clock is wrong."""

import time
from typing import Any

import pytest
from tests.fakes.fake_broker import FakeBroker
from tests.shared.doctor.test_amqp_probes import allow

from modelcast.shared import topology as names
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.doctor import amqp_probes
from modelcast.shared.doctor.amqp_checks import BACK_SECONDS, check_broker, clock_of_broker, judge_version, queues_of_broker
from modelcast.shared.doctor.amqp_probes import Reply
from modelcast.shared.doctor.findings import Case, Finding
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.permissions import Patterns, Role, patterns
from modelcast.shared.pika_link import PikaBroker

TARGET = ("fraud", "production")


def found(url: str, **told: Any) -> dict[str, Finding]:
    """What is found, by subject; of one that is named twice, the worst."""
    findings = list(check_broker(Case(url, **told)))
    return {finding.subject: finding for finding in sorted(findings, key=lambda finding: ["ok", "warning", "problem"].index(finding.level))}


def as_role(node: PrivateNode, broker_url: str, user: str, allowed: Patterns) -> str:
    escaped = {name: getattr(allowed, name).replace("\\", "\\\\") for name in ("configure", "write", "read")}
    return allow(node, BrokerUrl.parse(broker_url), user, **escaped)


@pytest.mark.parametrize("role", Role)
def test_a_user_with_the_least_permissions_of_a_role_lacks_none(node: PrivateNode, broker_url: str, role: Role) -> None:
    url = as_role(node, broker_url, f"{role}-{BrokerUrl.parse(broker_url).vhost}-least", patterns(role, [TARGET]))
    told = found(url, model="fraud", role=role)
    assert told["permissions"].level == "ok", told["permissions"].text
    assert "problem" not in {finding.level for finding in told.values()}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", ["configure", "write", "read"])
def test_a_permission_that_is_taken_away_is_named_with_the_line_that_gives_it_back(
    node: PrivateNode, broker_url: str, role: Role, permission: str
) -> None:
    least, lost = patterns(role, [TARGET]), names.REPORTS
    user = f"{role}-{BrokerUrl.parse(broker_url).vhost}-{permission}"
    less = {name: getattr(least, name) for name in ("configure", "write", "read")}
    less[permission] = less[permission].replace("|reports", "")
    told = found(as_role(node, broker_url, user, Patterns(**less)), model="fraud", role=role)["permissions"]
    assert (told.level, told.facts["missing"]) == ("problem", {permission: [lost]})
    assert f"{permission} for {lost}" in told.text
    assert least.command(user, BrokerUrl.parse(broker_url).vhost) in str(told.remedy)


def test_looking_makes_nothing(node: PrivateNode, broker_url: str) -> None:
    for role in Role:
        assert found(broker_url, model="fraud", role=role)["permissions"].level == "ok"
    vhost = BrokerUrl.parse(broker_url).vhost
    assert node.control("-q", "list_queues", "-p", vhost, "name").split() in ([], ["name"])
    assert "modelcast" not in node.control("-q", "list_exchanges", "-p", vhost, "name")


def test_without_a_role_permissions_are_left_alone(broker_url: str) -> None:
    assert set(found(broker_url, model="fraud")) == {"broker", "version", "stream protocol", "clock"}


def test_a_broker_that_is_there_is_fine_and_says_its_version(node: PrivateNode, broker_url: str) -> None:
    told = found(f"{broker_url}?stream_port={node.status().stream_port}")
    assert {name: finding.level for name, finding in told.items()} == dict.fromkeys(("broker", "version", "stream protocol", "clock"), "ok")
    assert told["version"].facts["product"] == "RabbitMQ"
    secret = BrokerUrl.parse(broker_url).password
    assert not any(secret in str(finding) for finding in told.values())


def test_what_learns_of_the_chunk_stream_is_told_to_the_next_check(broker_url: str) -> None:
    case = Case(broker_url, "fraud", role=Role.PUBLISHER)
    list(check_broker(case))
    assert case.known == {"register": False, "retention_bytes": None}
    link = PikaBroker(broker_url).connect(name="test")
    link.declare(names.model_parts("fraud", retention_bytes=10**9))
    link.close()
    list(check_broker(case))
    assert case.known == {"register": True, "retention_bytes": 10**9}


def test_a_broker_that_is_not_there_a_wrong_password_and_no_such_vhost_are_one_problem_each(broker_url: str) -> None:
    url = BrokerUrl.parse(broker_url)
    gone = found("amqp://guest@127.0.0.1:9/")
    wrong = found(f"amqp://{url.user}:wrong@{url.host}:{url.port}/{url.vhost}")
    nowhere = found(broker_url.rpartition("/")[0] + "/nowhere")
    for told, error in ((gone, "BrokerUnreachable"), (wrong, "AuthenticationRefused"), (nowhere, "VhostMissing")):
        assert list(told) == ["broker"]
        assert (told["broker"].level, told["broker"].facts["error"]) == ("problem", error)
        assert told["broker"].remedy


def test_a_stream_port_that_does_not_answer_is_a_warning_unless_nothing_else_is_allowed(broker_url: str) -> None:
    auto, only = found(f"{broker_url}?stream_port=9"), found(f"{broker_url}?stream_port=9&chunks=stream")
    amqp_port = BrokerUrl.parse(broker_url).port
    assert auto["stream protocol"].level == "warning"
    assert only["stream protocol"].level == "problem"
    assert found(f"{broker_url}?stream_port={amqp_port}")["stream protocol"].level == "warning"
    assert found(broker_url)["stream protocol"].level == "warning"   # nobody says which port
    assert found(f"{broker_url}?chunks=amqp")["stream protocol"].level == "ok"
    assert "rabbitmq-plugins enable rabbitmq_stream" in str(auto["stream protocol"].remedy)


def test_a_broker_for_small_messages_is_a_problem_of_a_publisher(node: PrivateNode, broker_url: str) -> None:
    set_to = "persistent_term:put(max_message_size, {0}), application:set_env(rabbit, max_message_size, {0})."
    before = node.control("eval", "{ok, Most} = application:get_env(rabbit, max_message_size), Most.").strip()
    node.control("eval", set_to.format(1_000_000))
    try:
        told = found(broker_url, model="fraud", role=Role.PUBLISHER)["message size"]
    finally:
        node.control("eval", set_to.format(before))
    assert (told.level, told.facts["limit"]) == ("problem", 1_000_000)
    assert "max_message_size" in str(told.remedy)
    assert found(broker_url, model="fraud", role=Role.PUBLISHER)["message size"].level == "ok"


@pytest.mark.parametrize(("product", "version", "level"), [
    ("RabbitMQ", "3.10.8", "ok"), ("RabbitMQ", "3.13.7", "ok"), ("RabbitMQ", "4.2.0-beta.1", "ok"), ("RabbitMQ", "3.9.27", "problem"),
    ("RabbitMQ", "2.8.1", "problem"), ("RabbitMQ", "5.0.0", "warning"), ("RabbitMQ", "?", "warning"), ("LavinMQ", "3.10.0", "warning"),
])
def test_versions_are_judged_by_what_was_tested(product: str, version: str, level: str) -> None:
    assert judge_version(product, version).level == level


# --------------------------------------------------------------------------- queues that are not back


@pytest.mark.parametrize(("looks", "is_back"), [(1, True), (5, True), (1000, False)])
def test_a_broker_that_was_just_started_is_given_some_seconds_for_its_streams(
    monkeypatch: pytest.MonkeyPatch, looks: int, is_back: bool
) -> None:
    asked, seconds = dict[str, int](), [0.0]

    def look_at(_link: object, name: str) -> Reply:
        asked[name] = asked.get(name, 0) + 1
        if name == names.chunks_name("fraud") and asked[name] < looks:
            return Reply(404, f"NOT_FOUND - home node 'rabbit@a' of durable queue '{name}' in vhost '/' is down or inaccessible")
        return Reply(404, f"NOT_FOUND - no queue '{name}' in vhost '/'") if name == names.REPORTS else Reply()

    monkeypatch.setattr(amqp_probes, "look_at", look_at)
    told = list(queues_of_broker(
        None, Case("", model="fraud"), clock=lambda: seconds[0], rest=lambda pause: seconds.__setitem__(0, seconds[0] + pause),
    ))
    if is_back:
        assert told == []
    else:
        (finding,) = told
        assert (finding.level, finding.subject, finding.facts["down"]) == ("problem", "queues", ["modelcast.fraud.chunks"])
        assert "call again when it is back" in str(finding.remedy)
        assert seconds[0] == BACK_SECONDS
    assert asked[names.REPORTS] == 1   # one that is missing is not waited for


# --------------------------------------------------------------------------- clocks


@pytest.mark.parametrize(("ahead", "level", "how"), [
    (0, "ok", "less than"), (3, "ok", "less than"), (-3, "ok", "less than"), (60, "warning", "ahead of"), (-60, "warning", "behind"),
    (86_400, "warning", "ahead of"),
])
def test_a_broker_whose_clock_is_wrong_is_found_out_by_a_marker(ahead: float, level: str, how: str) -> None:
    link = FakeBroker(lambda: time.time() + ahead).connect(name="doctor")
    link.declare(names.common_parts())
    (told,) = clock_of_broker(link)
    assert told.level == level
    assert how in told.text


@pytest.mark.parametrize(("ahead", "level"), [(0, "ok"), (60, "warning"), (-60, "warning")])
def test_the_clock_of_a_real_broker_is_compared_with_ours(broker_url: str, ahead: float, level: str) -> None:
    link = PikaBroker(broker_url).connect(name="doctor")
    link.declare(names.common_parts())
    outbox = link.outbox(window=1)
    outbox.post(names.REPORTS, b"a report of before")
    outbox.flush()
    (told,) = clock_of_broker(link, lambda: time.time() + ahead)   # this host's clock is the wrong one
    link.close()
    assert told.level == level
    assert ("behind" if ahead > 0 else "ahead of") in told.text or level == "ok"


def test_where_nothing_was_reported_the_clock_cannot_be_told(broker_url: str) -> None:
    assert "cannot be told" in found(broker_url)["clock"].text
