"""A cluster of three that loses its leader in mid-transfer, or its majority: publishing says so, and all are served in the end."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.end_to_end.harness import Harness, eventually
from tests.fakes.cluster import Cluster

from modelcast.consumer.deadletters.browse import read_letters
from modelcast.shared.errors import BrokerUnreachable
from modelcast.shared.roads import open_road
from modelcast.shared.topology import DEAD, REPORTS, chunks_name, history_name, instance_queue_name, releases_name

pytestmark = [pytest.mark.torture, pytest.mark.timeout(400)]
LONG_SECONDS = 120.0
LARGE_KIBIBYTES = 128 * 1024
STREAMS = (chunks_name("fraud"), releases_name("fraud"), history_name("fraud", "production"), REPORTS)


@pytest.fixture(scope="module")
def cluster(rabbitmq_installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def vhost(cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """A virtual host of the test's own; what was killed runs again afterwards."""
    name = tmp_path.name.replace("_", "-")[-40:]
    cluster.add_vhost(name)
    yield name
    cluster.heal()


def test_streams_and_quorum_queues_are_on_every_node_and_dead_letters_are_passed_on_at_least_once(
    cluster: Cluster, vhost: str, run: Harness
) -> None:
    url = cluster.url(1, vhost)
    one = run.joined("one", url, queue_type="quorum")
    one.serves(run.publish(url).version)
    queues = cluster.queues(vhost, "type", "members", "arguments")
    own = queues[instance_queue_name("fraud", "production", "one")]
    assert own[0].startswith("quorum") or own[0] == "rabbit_quorum_queue"
    assert '{"x-dead-letter-strategy","at-least-once"}' in own[2]
    assert '{"x-overflow","reject-publish"}' in own[2]
    for name in (*STREAMS, instance_queue_name("fraud", "production", "one")):
        assert sum(node.name in queues[name][1] for node in cluster.nodes) == 3, queues[name]
    assert "classic" in queues[DEAD][0]
    run.publish(url, is_good=False)
    one.wait_for(lambda status: status["rejected"] == 1, "the refusal")
    eventually(lambda: list(read_letters(open_road(url), limit=10)), "the dead letter")
    run.finish(url)


@pytest.mark.parametrize("through", ["a survivor", "the leader"])
def test_the_leader_of_the_chunk_stream_killed_in_mid_transfer_costs_a_call_at_most(
    cluster: Cluster, vhost: str, run: Harness, through: str
) -> None:
    one = run.joined("one", cluster.url(2, vhost), queue_type="quorum")
    first = run.publish(cluster.url(0, vhost)).version
    one.serves(first)
    leader = cluster.leader(vhost, chunks_name("fraud"))
    others = [number for number in range(3) if number != leader]
    if leader == 2:   # not where the instance is connected
        one.end()
        one = run.joined("one", cluster.url(others[1], vhost), queue_type="quorum")
    survivor = others[0] if others[0] != 2 else others[1]
    version, faults = run.next_version(), list[BrokerUnreachable]()

    def publish() -> None:
        try:
            run.publish(cluster.url(survivor if through == "a survivor" else leader, vhost), version, kibibytes=LARGE_KIBIBYTES)
        except BrokerUnreachable as fault:
            faults.append(fault)
            run.publish_at_last(cluster.url(survivor, vhost), version, LONG_SECONDS, kibibytes=LARGE_KIBIBYTES)

    with ThreadPoolExecutor(1) as background:
        publishing = background.submit(publish)
        one.wait_for(lambda status: status["state"] == "ahead", "receiving ahead of the order")
        cluster.nodes[leader].kill()
        publishing.result(LONG_SECONDS)
    print(through, [str(fault) for fault in faults])
    one.serves(version, LONG_SECONDS)
    cluster.heal()
    eventually(lambda: cluster.queues(vhost, "online")[chunks_name("fraud")][0].count("@") == 3, "the replica back", LONG_SECONDS)
    run.finish(cluster.url(leader, vhost), LONG_SECONDS)


def test_a_cluster_without_its_majority_is_said_in_time_and_what_waits_is_served_when_it_is_back(
    cluster: Cluster, vhost: str, run: Harness
) -> None:
    url = cluster.url(0, vhost)
    one = run.joined("one", url, queue_type="quorum")
    two = run.joined("two", cluster.url(1, vhost), queue_type="quorum")
    first = run.publish(url).version
    for instance in (one, two):
        instance.serves(first)
    for node in cluster.nodes[1:]:
        node.kill()
    version = run.next_version()
    with pytest.raises(BrokerUnreachable) as caught:
        run.publish(url, version)
    print(caught.value, caught.value.hint)
    assert "rabbitmqctl cluster_status" in str(caught.value.hint)
    status = two.wait_for(lambda status: not status["connected"], "the loss")
    assert status["version"] == first
    assert one.look()["version"] == first
    print(one.look()["detail"])
    cluster.heal()
    published = run.publish_at_last(url, version, LONG_SECONDS)
    for instance in (one, two):
        instance.serves(published.version, LONG_SECONDS)
    run.finish(url, LONG_SECONDS)


