"""What a role needs on a broker: it follows from what the role declares, and its patterns allow that and no more."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared import topology as names
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.permissions import Needs, Patterns, Role, definitions, needs, patterns
from modelcast.shared.pika_link import PikaBroker

TARGET = ("fraud", "production")
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,12}", fullmatch=True).filter(lambda name: name not in {"chunks", "releases"})


def each(needed: Needs, allowed: Patterns) -> list[tuple[str, tuple[str, ...], str]]:
    return [(permission, listed, getattr(allowed, permission)) for permission, listed in needed.items()]


@pytest.mark.parametrize("role", Role)
@given(model=NAMES, channel=NAMES, instance=NAMES)
def test_the_patterns_allow_all_that_a_role_needs(role: Role, model: str, channel: str, instance: str) -> None:
    for _, listed, pattern in each(needs(role, model, channel, instance), patterns(role, [(model, channel)])):
        assert [name for name in listed if not re.search(pattern, name)] == []


@pytest.mark.parametrize("role", Role)
def test_the_patterns_allow_nothing_else(role: Role) -> None:
    others = {
        name for model in ("fraud", "fraud2", "xfraud") for channel in ("production", "staging", "production2")
        for each_role in Role for _, listed in needs(each_role, model, channel, "web-1").items() for name in listed
    } | {"modelcastXdead", "modelcast.dead2", "amq.default", "modelcast.fraud.chunksX", "modelcastxfraud.chunks",
         "modelcast.fraud.productionXhistory", "modelcast.fraud.productionXatXweb-1", "modelcast.fraudXchunks", "modelcastXreports"}
    for permission, listed, pattern in each(needs(role, *TARGET, "web-1"), patterns(role, [TARGET])):
        assert {name for name in others if re.search(pattern, name)} == set(listed), permission


def test_only_who_sends_letters_back_may_write_into_any_queue() -> None:
    assert {role for role in Role for pattern in [patterns(role, [TARGET]).write] if re.search(pattern, "amq.default")} == {Role.REPLAYER}
    assert patterns(Role.REPLAYER, [TARGET]).write == r"^(amq\.default|modelcast\.(dead|reports))$"


def test_an_instance_may_neither_order_nor_send_chunks() -> None:
    written = needs(Role.INSTANCE, *TARGET).write
    assert names.orders_name(*TARGET) not in written
    assert names.chunks_name("fraud") not in written
    assert names.releases_name("fraud") not in written


def test_an_operator_reads_the_register_and_leaves_its_marker_there() -> None:
    register = names.releases_name("fraud")
    assert all(register in listed for _, listed in needs(Role.OPERATOR, *TARGET).items())


def test_one_instance_may_be_allowed_and_no_other() -> None:
    allowed = patterns(Role.INSTANCE, [TARGET], "web-1")
    assert re.search(allowed.read, "modelcast.fraud.production.at.web-1")
    assert not re.search(allowed.read, "modelcast.fraud.production.at.web-2")
    assert not re.search(allowed.read, "modelcast.fraud.production.at.web-11")
    assert re.search(patterns(Role.INSTANCE, [TARGET]).read, "modelcast.fraud.production.at.web-2")


def test_one_user_may_have_several_models_and_channels() -> None:
    allowed = patterns(Role.PUBLISHER, [("fraud", "staging"), ("fraud", "production"), ("churn", "production")])
    assert re.search(allowed.write, "modelcast.fraud.staging")
    assert re.search(allowed.write, "modelcast.churn.production")
    assert not re.search(allowed.write, "modelcast.churn.staging")


def test_the_line_for_the_shell_keeps_what_is_special_there() -> None:
    line = patterns(Role.OPERATOR, [TARGET]).command("o'brien", "/")
    assert line.startswith("rabbitmqctl set_permissions -p / 'o'\"'\"'brien' '^modelcast")
    assert line.endswith(r" '^modelcast\.(fraud\.releases|dead|reports)$'")


def test_definitions_hold_the_parts_but_no_lock_and_what_users_may_do() -> None:
    parts = [*names.publisher_locks("fraud"), *names.model_parts("fraud"), *names.channel_parts(*TARGET)]
    allowed = patterns(Role.PUBLISHER, [TARGET])
    told = json.loads(json.dumps(definitions(parts, "/", {"training": allowed})))
    assert not {"modelcast.fraud.publishing", "modelcast.fraud.ordering"} & {queue["name"] for queue in told["queues"]}
    assert {queue["name"] for queue in told["queues"]} >= {"modelcast.fraud.chunks", "modelcast.dead", "modelcast.reports"}
    assert told["permissions"] == [
        {"user": "training", "vhost": "/", "configure": allowed.configure, "write": allowed.write, "read": allowed.read}
    ]


def test_rabbitmq_takes_the_definitions_and_then_has_what_we_would_declare(node: PrivateNode, broker_url: str) -> None:
    url = BrokerUrl.parse(broker_url)
    parts = [
        *names.model_parts("fraud"), *names.channel_parts(*TARGET), *names.instance_parts(*TARGET, "web-1"),
        *names.instance_parts(*TARGET, "web-2", queue_type="quorum"),
    ]
    file = node.status().state_dir / "definitions.json"   # where a node with a root of its own sees it, too
    everything = Patterns(".*", ".*", ".*")
    file.write_text(json.dumps(definitions(parts, url.vhost, {url.user: everything})), encoding="utf-8")
    node.control("import_definitions", str(file))
    file.unlink()
    link = PikaBroker(broker_url).connect(name="test")
    try:
        assert link.depth("modelcast.fraud.production.at.web-1") == 0   # raises where it is not there
        link.declare(parts)   # raises where an argument differs
        outbox = link.outbox(window=1)
        outbox.post(names.orders_name(*TARGET), b"order")
        outbox.flush()
        assert [link.depth(names.instance_queue_name(*TARGET, name)) for name in ("web-1", "web-2")] == [1, 1]
    finally:
        link.close()
