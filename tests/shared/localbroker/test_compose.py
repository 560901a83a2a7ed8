"""The compose file says what the chooser believes of it."""

import json
import re
from urllib.parse import urlsplit

import pytest
import yaml

from modelcast.shared.localbroker.compose import compose_file, compose_url


@pytest.fixture(scope="module")
def document():
    return yaml.safe_load(compose_file().read_text(encoding="utf-8"))


def _with_defaults(text):
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_it_runs_the_image_that_the_project_supports_under_a_fixed_name(document):
    service = document["services"]["rabbitmq"]
    assert service["image"] == "rabbitmq:4.3-management"
    assert service["hostname"] == "modelcast-rabbitmq"
    assert "version" not in document


def test_every_port_is_bound_to_loopback_and_can_be_changed(document):
    ports = document["services"]["rabbitmq"]["ports"]
    assert len(ports) == 3
    for port in ports:
        assert re.fullmatch(r"127\.0\.0\.1:\$\{MODELCAST_RABBITMQ_\w*PORT:-(\d+)\}:\1", port)


def test_what_it_holds_is_in_a_named_volume(document):
    assert document["services"]["rabbitmq"]["volumes"] == ["data:/var/lib/rabbitmq"]
    assert "data" in document["volumes"]


def test_it_is_healthy_when_its_ports_answer(document):
    assert document["services"]["rabbitmq"]["healthcheck"]["test"] == [
        "CMD", "rabbitmq-diagnostics", "-q", "check_port_connectivity",
    ]  # fmt: skip


def test_the_url_of_the_chooser_is_that_of_the_user_who_is_defined(document):
    definitions = json.loads(_with_defaults(document["configs"]["definitions"]["content"]))
    (user,) = definitions["users"]
    parts = urlsplit(compose_url({}))
    assert (parts.username, parts.password) == (user["name"], user["password"])
    assert user["name"] != "guest"
    assert _with_defaults(document["services"]["rabbitmq"]["ports"][0]) == f"{parts.hostname}:{parts.port}:5672"
    (vhost,) = definitions["vhosts"]
    (permission,) = definitions["permissions"]
    assert parts.path == "/%2F"
    assert vhost["name"] == permission["vhost"] == "/"
    assert permission["user"] == user["name"]


def test_the_stream_plugin_is_on_and_every_file_is_mounted(document):
    assert "rabbitmq_stream" in document["configs"]["plugins"]["content"]
    mounted = {entry["source"]: entry["target"] for entry in document["services"]["rabbitmq"]["configs"]}
    assert set(mounted) == set(document["configs"])
    assert mounted["definitions"] in document["configs"]["settings"]["content"]


def test_the_variables_of_the_file_are_those_of_the_url():
    text = compose_file().read_text(encoding="utf-8")
    url = compose_url({"MODELCAST_RABBITMQ_PASSWORD": "other", "MODELCAST_RABBITMQ_PORT": "5999"})
    assert url == "amqp://modelcast:other@127.0.0.1:5999/%2F?stream_port=5552"
    assert compose_url({"MODELCAST_RABBITMQ_STREAM_PORT": "6000"}).endswith("@127.0.0.1:5672/%2F?stream_port=6000")
    assert compose_url({}).endswith("@127.0.0.1:5672/%2F")   # RabbitMQ's own ports need no word
    assert "${MODELCAST_RABBITMQ_PASSWORD:-" in text
    assert "${MODELCAST_RABBITMQ_PORT:-" in text
