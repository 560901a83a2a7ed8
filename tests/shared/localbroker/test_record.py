"""A node keeps its ports and its password, and never takes a port that somebody else has."""

import json
import socket
import stat
from pathlib import Path

import pytest

from modelcast.shared.errors import HostFault, MisuseError
from modelcast.shared.localbroker.record import NodeRecord, new_record, read_record, settle_ports, write_record


def test_a_new_record_has_four_free_ports_apart_from_everybody_s_and_a_password_of_its_own() -> None:
    one, other = new_record(None), new_record(None)
    ports = [one.amqp_port, one.stream_port, one.dist_port, one.epmd_port]
    assert len(set(ports)) == 4
    assert not {5672, 5552, 15672, 25672, 4369} & set(ports)
    assert one.password != other.password
    assert one.password in one.url


def test_a_port_that_is_asked_for_is_taken_or_refused() -> None:
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        taken = somebody.getsockname()[1]
        with pytest.raises(MisuseError, match=f"Port {taken} is taken"):
            new_record(taken)
    assert new_record(taken).amqp_port == taken


def test_the_ports_of_last_time_are_kept_while_they_are_free() -> None:
    record = new_record(None)
    assert settle_ports(record, None) == record
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", record.stream_port))
        somebody.listen()
        settled = settle_ports(record, None)
    assert settled.stream_port != record.stream_port
    assert settled.password == record.password


def test_a_record_is_written_for_its_owner_only_and_read_again(tmp_path: Path) -> None:
    record = NodeRecord(1, 2, 3, 4, "secret")
    write_record(tmp_path / "node.json", record)
    assert stat.S_IMODE((tmp_path / "node.json").stat().st_mode) == 0o600
    assert read_record(tmp_path / "node.json") == record
    assert read_record(tmp_path / "nowhere") is None


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"amqp_port": 1})])
def test_a_file_that_is_no_record_is_said_so_with_the_way_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "node.json").write_text(text)
    with pytest.raises(HostFault, match="cannot be read") as caught:
        read_record(tmp_path / "node.json")
    assert "start again" in (caught.value.hint or "")
