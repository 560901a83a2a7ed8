"""The address of a broker, and its password that is never shown."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.broker_url import BrokerUrl
from modelcast.shared.errors import MisuseError


@pytest.mark.parametrize(
    ("text", "user", "host", "port", "vhost"),
    [
        ("amqp://user:secret@broker:5673/prod", "user", "broker", 5673, "prod"),
        ("amqp://broker", "guest", "broker", 5672, "/"),
        ("amqp://broker/", "guest", "broker", 5672, "/"),
        ("amqp://broker/%2F", "guest", "broker", 5672, "/"),
        ("amqps://broker", "guest", "broker", 5671, "/"),
        ("amqp://u%40x:p%3A@broker/a%2Fb", "u@x", "broker", 5672, "a/b"),
        ("amqp://u:p@[::1]:5672/", "u", "::1", 5672, "/"),
        ("amqp://broker/v?heartbeat=5", "guest", "broker", 5672, "v"),
    ],
)
def test_a_url_is_taken_apart(text: str, user: str, host: str, port: int, vhost: str) -> None:
    url = BrokerUrl.parse(text)
    assert (url.user, url.host, url.port, url.vhost, url.text) == (user, host, port, vhost, text)


@pytest.mark.parametrize(
    "text",
    ["", "broker", "broker:5672", "http://u:secret@broker", "amqp://", "amqp:///v", "amqp://u:secret@", "amqp://u:secret@broker:port/",
     "amqp://u:secret@broker:99999/", "amqp://u:secret@[::1/", "://u:secret@broker"],
)
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(MisuseError) as caught:
        BrokerUrl.parse(text)
    assert "amqp://" in str(caught.value.hint)
    assert "secret" not in f"{caught.value!r} {caught.value.hint} {caught.value.facts}"


@given(st.text(alphabet="abcXYZ0189:/@?#[]%é ", min_size=6, max_size=12))
def test_the_password_is_never_shown(secret: str) -> None:
    url = BrokerUrl.parse(f"amqp://user:{quote(secret, safe='')}@broker/v")
    for shown in (str(url), repr(url), f"{url}", f"{[url]}"):
        assert secret not in shown
        assert quote(secret, safe="") not in shown
    assert str(url) == "amqp://user:***@broker:5672/v"


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for candidate in (text, "amqp://" + text, "amqps://u:p@" + text):
        try:
            url = BrokerUrl.parse(candidate)
        except MisuseError:
            continue
        assert url.host
        assert 0 < url.port < 65_536


def test_options_in_the_query_are_seen() -> None:
    url = BrokerUrl.parse("amqp://broker/v?heartbeat=5")
    assert url.sets("heartbeat")
    assert not url.sets("socket_timeout")


def test_a_user_without_a_password_is_as_good_as_one_with_an_empty_one() -> None:
    assert BrokerUrl.parse("amqp://app@broker:5673/fraud").text == "amqp://app:@broker:5673/fraud"
    assert BrokerUrl.parse("amqp://broker").text == "amqp://broker"


@pytest.mark.parametrize(
    ("text", "left", "chunks", "stream_port"),
    [
        ("amqp://broker/v", "amqp://broker/v", "auto", 5552),
        ("amqps://broker/v", "amqps://broker/v", "auto", 5551),
        ("amqp://broker:5672/v", "amqp://broker:5672/v", "auto", 5552),
        ("amqp://broker:5673/v", "amqp://broker:5673/v", "auto", None),   # another broker may have port 5552
        ("amqp://broker:5673/v?chunks=stream", "amqp://broker:5673/v", "stream", 5552),
        ("amqp://broker:5673/v?stream_port=7", "amqp://broker:5673/v", "auto", 7),
        ("amqp://u:p@broker/v?heartbeat=5&chunks=amqp&stream_port=7&socket_timeout=9",
         "amqp://u:p@broker/v?heartbeat=5&socket_timeout=9", "amqp", 7),
    ],
)
def test_how_chunks_are_read_is_ours_and_kept_from_the_client_library(text: str, left: str, chunks: str, stream_port: int | None) -> None:
    url = BrokerUrl.parse(text)
    assert (url.text, url.chunks, url.stream_port) == (left, chunks, stream_port)


@pytest.mark.parametrize("option", ["chunks=", "chunks=fast", "stream_port=", "stream_port=0", "stream_port=65536", "stream_port=x", "stream_port=²"])
def test_an_option_of_ours_that_cannot_be_read_is_refused(option: str) -> None:
    with pytest.raises(MisuseError, match="option"):
        BrokerUrl.parse(f"amqp://broker/v?{option}")


def test_the_password_is_there_for_logging_in() -> None:
    for text, password in (("amqp://u:p%40@h/", "p@"), ("amqp://h/", "guest"), ("amqp://u@h/", ""), ("amqps://u:@h/", "")):
        assert BrokerUrl.parse(text).password == password
    assert BrokerUrl.parse("amqps://h/").is_tls
    assert not BrokerUrl.parse("amqp://h/").is_tls


def test_an_option_of_the_client_library_can_be_read() -> None:
    url = BrokerUrl.parse("amqp://h/?heartbeat=5")
    assert (url.option("heartbeat"), url.option("ssl_options")) == ("5", None)
