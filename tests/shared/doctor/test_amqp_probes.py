"""Questions to RabbitMQ that it answers by what it refuses: each tells one permission, and none leaves anything behind."""

from collections.abc import Iterator

import pytest

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.doctor import amqp_probes as probes
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.limits import MIB
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.pika_link import PikaBroker, PikaLink
from modelcast.shared.topology import Binding, Exchange, Queue, stream

PERMISSIONS = ("configure", "write", "read")
PARTS = [
    Exchange("log"), stream("log", max_bytes=64 * MIB, segment_bytes=16 * MIB), Binding("log", "log"),
    Exchange("work"), Queue("work"), Binding("work", "work"), Queue("work2"), Exchange("bare", "direct"),
]


def allow(node: PrivateNode, url: BrokerUrl, user: str, **patterns: str) -> str:
    """Give a user what it may do in the test's virtual host, and nothing else; returns its URL."""
    granted = ", ".join(f'<<"{patterns.get(permission, "^$")}">>' for permission in PERMISSIONS)
    make = "" if patterns.get("again") else f'rabbit_auth_backend_internal:add_user(<<"{user}">>, <<"secret">>, <<"tests">>), '
    node.control("eval", f'{make}rabbit_auth_backend_internal:set_permissions(<<"{user}">>, <<"{url.vhost}">>, {granted}, <<"tests">>).')
    return f"amqp://{user}:secret@{url.host}:{url.port}/{url.vhost}"


@pytest.fixture
def owner(broker_url: str) -> Iterator[PikaLink]:
    link = PikaBroker(broker_url).connect(name="owner")
    link.declare(PARTS)
    yield link
    link.close()


@pytest.fixture
def connect(node: PrivateNode, broker_url: str):
    """Connects as a user that has one permission only, for names that begin with ``log`` or ``work``."""
    url, links = BrokerUrl.parse(broker_url), list[PikaLink]()

    def connected(permission: str) -> PikaLink:
        links.append(PikaBroker(allow(node, url, f"{permission}-{url.vhost}", **{permission: "^(log|work|new)"})).connect(name="asks"))
        return links[-1]

    yield connected
    for link in links:
        link.close()


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_each_question_tells_its_permission_whether_or_not_the_name_is_there(permission: str, owner: PikaLink, connect) -> None:
    link = connect(permission)
    for asked, question in probes.QUESTIONS.items():
        refused = [name for name in ("log", "work", "new", "bare", "other") if question(link, name).refuses(name)]
        assert refused == (["bare", "other"] if asked == permission else ["log", "work", "new", "bare", "other"]), asked


def test_questions_change_nothing(node: PrivateNode, broker_url: str, owner: PikaLink) -> None:
    vhost = BrokerUrl.parse(broker_url).vhost

    def there() -> list[str]:
        return [
            node.control("-q", f"list_{what}", "-p", vhost, *columns) for what, columns in (
                ("queues", ("name", "arguments", "consumers")), ("exchanges", ("name", "type")), ("bindings", ()),
            )
        ]

    outbox = owner.outbox(window=1)
    outbox.post("work", b"one")
    outbox.flush()
    assert owner.depth("work") == 1
    before = there()
    for name in ("log", "work", "new", "bare"):
        for question in probes.QUESTIONS.values():
            assert question(owner, name).code != 403
    assert not probes.has_queue(owner, "new")
    assert probes.size_limit(owner, 8 * MIB) is None
    assert owner.depth("work") == 1
    assert there() == before
    inbox = owner.inbox("work", prefetch=1)
    delivery = inbox.receive(10)
    assert delivery is not None
    assert not delivery.redelivered   # nobody has had it in hand


def test_the_answer_tells_what_a_stream_keeps_and_nothing_of_another_queue(owner: PikaLink) -> None:
    kept = {name: probes.retention_in(probes.ask_configure(owner, name)) for name in ("log", "work", "new")}
    assert kept == {"log": 64 * MIB, "work": None, "new": None}


def test_a_broker_that_takes_small_messages_only_says_how_small(node: PrivateNode, broker_url: str) -> None:
    set_to = "persistent_term:put(max_message_size, {0}), application:set_env(rabbit, max_message_size, {0})."
    before = node.control("eval", "{ok, Most} = application:get_env(rabbit, max_message_size), Most.").strip()
    node.control("eval", set_to.format(1_000_000))
    try:
        link = PikaBroker(broker_url).connect(name="asks")
        assert probes.size_limit(link, 8 * MIB) == 1_000_000
        assert probes.size_limit(link, 900_000) is None
        link.close()
    finally:
        node.control("eval", set_to.format(before))


def test_a_broker_says_what_it_is(owner: PikaLink) -> None:
    told = probes.server_properties(owner)
    assert told["product"] == "RabbitMQ"
    assert str(told["version"])[0] in "34"


def test_a_connection_that_is_gone_is_no_answer(broker_url: str) -> None:
    link = PikaBroker(broker_url).connect(name="asks")
    link.close()
    with pytest.raises(BrokerUnreachable):
        probes.ask_configure(link, "log")
