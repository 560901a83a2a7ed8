"""What the client library says, in our words; the errors are the library's own."""

import pika.exceptions
import pytest
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed, AMQPConnectorAMQPHandshakeError

from modelcast.shared.amqp_errors import channel_error, connect_error, lost_error
from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import (
    AuthenticationRefused,
    BrokerUnreachable,
    HostFault,
    ModelcastError,
    PermissionRefused,
    PublisherBusy,
    TopologyMismatch,
    VhostMissing,
)

LOST = pika.exceptions.StreamLostError("Stream connection lost: ConnectionResetError(104, 'Connection reset by peer')")
URL = BrokerUrl.parse("amqp://user:secret@broker:5673/prod")


@pytest.mark.parametrize(
    ("cause", "kind", "said"),
    [
        (pika.exceptions.ProbableAuthenticationError("closed"), AuthenticationRefused, "user 'user'"),
        (pika.exceptions.ConnectionClosedByBroker(403, "ACCESS_REFUSED - Login was refused"), AuthenticationRefused, "broker:5673"),
        (pika.exceptions.ProbableAccessDeniedError("closed"), VhostMissing, "'prod'"),
        (pika.exceptions.ConnectionClosedByBroker(530, "NOT_ALLOWED - vhost prod not found"), VhostMissing, "'prod'"),
        (pika.exceptions.ProbableAuthenticationError(repr(LOST)), BrokerUnreachable, "lost before it was open"),
        (pika.exceptions.ProbableAccessDeniedError(repr(LOST)), BrokerUnreachable, "lost before it was open"),
        (pika.exceptions.ConnectionOpenAborted("Connection.close() called before connection finished opening"), BrokerUnreachable, "in time"),
        (
            pika.exceptions.ProbableAccessDeniedError(
                f"""ConnectionClosedByBroker: (530) "NOT_ALLOWED - access to vhost '{'long' * 60}' refused for user 'user': connection """
                'limit (9) is reached"'
            ),
            BrokerUnreachable, "takes no more connections: connection limit (9) is reached.",
        ),
        (ConnectionRefusedError(111, "Connection refused"), BrokerUnreachable, "Connection refused"),
        (TimeoutError("no answer within 15 s"), BrokerUnreachable, "no answer within 15 s"),
        (pika.exceptions.AMQPConnectionError(), BrokerUnreachable, "AMQPConnectionError"),
    ],
)
def test_a_connection_that_did_not_come_about_is_explained(cause: Exception, kind: type[HostFault], said: str) -> None:
    error = connect_error(URL, cause)
    assert type(error) is kind
    assert said in str(error)
    assert error.hint
    assert "secret" not in f"{error!r} {error.hint} {error.facts}"


def test_the_innermost_cause_is_shown() -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    nested = pika.exceptions.AMQPConnectionError(AMQPConnectionWorkflowFailed([AMQPConnectorAMQPHandshakeError(refused)]))
    assert "(Connection refused)" in str(connect_error(URL, nested))


@pytest.mark.parametrize(
    ("code", "kind"),
    [(403, PermissionRefused), (404, TopologyMismatch), (405, PublisherBusy), (406, TopologyMismatch), (504, BrokerUnreachable)],
)
def test_a_channel_that_the_broker_closed_is_explained_by_its_code(code: int, kind: type[ModelcastError]) -> None:
    error = channel_error(pika.exceptions.ChannelClosedByBroker(code, "the broker's words"), "declare x")
    assert type(error) is kind
    assert error.facts == {"reply_code": code, "reply_text": "the broker's words"}


def test_a_queue_whose_node_is_not_back_is_waited_for_and_not_deleted() -> None:
    words = "NOT_FOUND - home node 'rabbit@a' of durable queue 'modelcast.fraud.chunks' in vhost '/' is down or inaccessible"
    error = channel_error(pika.exceptions.ChannelClosedByBroker(404, words), "publish")
    assert type(error) is BrokerUnreachable
    assert "delete" not in str(error.hint)


def test_endless_words_of_a_broker_are_cut() -> None:
    error = channel_error(pika.exceptions.ChannelClosedByBroker(404, "x" * 100_000), "read q")
    assert len(str(error)) < 1000
    assert len(str(connect_error(URL, OSError("x" * 100_000)))) < 1000


def test_a_connection_that_ended_in_an_alarm_names_it_and_what_to_do() -> None:
    error = lost_error(URL, pika.exceptions.ConnectionBlockedTimeout("Blocked connection timeout expired."), blocked="low on memory")
    assert isinstance(error, BrokerUnreachable)
    assert str(error) == (
        "The broker at broker:5673 takes no messages now: low on memory. The connection ended: Blocked connection timeout expired."
    )
    assert error.hint == "Free memory or disk on the broker's host: rabbitmq-diagnostics alarms"


def test_a_connection_that_broke_says_why_and_where() -> None:
    error = lost_error(URL, pika.exceptions.StreamLostError("Stream connection lost: reset"))
    assert isinstance(error, BrokerUnreachable)
    assert str(error) == "The connection to broker:5673 broke: Stream connection lost: reset."
    assert error.facts == {"url": "amqp://user:***@broker:5673/prod"}


def test_a_broker_that_failed_inside_sends_to_its_log_and_to_the_cluster() -> None:
    error = lost_error(URL, pika.exceptions.ConnectionClosedByBroker(541, "INTERNAL_ERROR"))
    assert "rabbitmqctl cluster_status" in (error.hint or "")
    assert lost_error(URL, LOST).hint is None
