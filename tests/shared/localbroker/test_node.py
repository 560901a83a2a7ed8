"""A private node for real: started, found again, killed, stopped. Needs an installed rabbitmq-server."""

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from modelcast.shared.errors import BrokerMissing, HostFault, MisuseError
from modelcast.shared.localbroker.chooser import ensure_installed
from modelcast.shared.localbroker.compose import compose_file
from modelcast.shared.localbroker.host import Host
from modelcast.shared.localbroker.node import PrivateNode
from modelcast.shared.localbroker.processes import with_arguments


@pytest.fixture(scope="module", autouse=True)
def _rabbitmq_is_installed():
    ensure_installed(print)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a running node, in a path with a space as on macOS."""
    folder = tmp_path_factory.mktemp("a node") / "broker"
    node = PrivateNode(folder)
    node.start()
    yield folder
    node.stop()


@pytest.fixture
def fresh(tmp_path):
    """A node that was never started; it is stopped at the end."""
    node = PrivateNode(tmp_path / "broker")
    yield node
    node.stop()


def _greeting(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"AMQP\x00\x00\x09\x01")
        return connection.recv(1)


def _server_pids(node):
    return with_arguments("", "-modelcast_node", node.status().node_name)


def _listening_addresses(pid):
    """The local addresses, in hexadecimal, on which a process listens."""
    sockets = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(descriptor)
        except FileNotFoundError:   # closed since it was listed
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                found.append(fields[1].rpartition(":")[0])
    return found


def test_a_started_node_greets_on_its_amqp_port_and_listens_on_its_stream_port(folder):
    status = PrivateNode(folder).status()
    assert status.running
    assert _greeting(status.port) == b"\x01"
    with socket.create_connection(("127.0.0.1", status.stream_port), timeout=5):
        pass
    assert 5672 not in {status.port, status.stream_port}


def test_the_user_of_the_url_may_log_in_and_is_not_guest(folder):
    node = PrivateNode(folder)
    password = node.url.split(":")[2].partition("@")[0]
    node.control("-q", "authenticate_user", "modelcast", password)
    users = node.control("-q", "list_users")
    assert "modelcast" in users
    assert "guest" not in users


def test_a_second_start_finds_the_running_node(folder):
    node = PrivateNode(folder)
    before = node.status()
    assert PrivateNode(folder).start() == node.url
    assert before.url == node.application_url == f"{node.url}?stream_port={before.stream_port}"
    assert _server_pids(node) == [before.pid]


def test_a_running_node_is_not_moved_to_another_port(folder):
    running = PrivateNode(folder).status().port
    with pytest.raises(MisuseError, match=f"already runs on port {running}"):
        PrivateNode(folder, port=running + 1).start()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_every_port_of_the_node_is_on_loopback_only(folder):
    status = PrivateNode(folder).status()
    addresses = _listening_addresses(status.pid)
    assert len(addresses) >= 3   # AMQP, streams, distribution
    assert set(addresses) == {"0100007F"}


def test_only_the_owner_can_read_the_password(folder):
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = PrivateNode(folder).url.split(":")[2].partition("@")[0]
    holding = [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert holding
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_a_control_command_that_fails_says_why(folder):
    with pytest.raises(HostFault, match="failed to authenticate"):
        PrivateNode(folder).control("-q", "authenticate_user", "modelcast", "wrong")


def test_the_definitions_of_the_compose_file_make_a_user_who_may_log_in_and_use_the_virtual_host(folder):
    text = yaml.safe_load(compose_file().read_text(encoding="utf-8"))["configs"]["definitions"]["content"]
    definitions = folder / "definitions.json"
    definitions.write_text(re.sub(r"\$\{\w+:-([^}]*)\}", "pass-word_1", text).replace('"modelcast"', '"composed"'))
    node = PrivateNode(folder)
    node.control("-q", "import_definitions", str(definitions))
    node.control("-q", "authenticate_user", "composed", "pass-word_1")
    assert "composed\t.*\t.*\t.*" in node.control("-q", "list_permissions", "-p", "/")


def test_the_log_can_be_read(folder):
    assert "RabbitMQ" in PrivateNode(folder).log_text(100_000)
    assert len(PrivateNode(folder).log_text(3).splitlines()) <= 3
    assert PrivateNode(folder).log_text(0) == ""


def test_a_killed_node_starts_again_with_its_url_and_what_it_held(fresh):
    url = fresh.start()
    fresh.control("-q", "add_vhost", "kept")
    first = fresh.status().pid
    fresh.kill()
    assert not fresh.status().running
    assert fresh.start() == url
    assert fresh.status().pid != first
    assert "kept" in fresh.control("-q", "list_vhosts")


def test_a_start_that_was_interrupted_half_way_is_carried_on_by_the_next_one(fresh):
    fresh._folder.make()
    fresh._launch()   # all that a start did before its process was killed
    fresh.start()
    assert len(_server_pids(fresh)) == 1


def test_two_starts_at_once_and_a_stale_pid_file_make_one_node_and_stop_ends_it_all(tmp_path):
    folder = tmp_path / "broker"
    folder.mkdir()
    folder.joinpath("server.pid").write_text(str(os.getpid()))   # a number that another process has by now
    program = (
        "import sys, pathlib; from modelcast.shared.localbroker.node import PrivateNode;"
        "print(PrivateNode(pathlib.Path(sys.argv[1])).start())"
    )
    command = [sys.executable, "-c", program, str(folder)]
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    urls = [start.communicate(timeout=90)[0].strip() for start in starts]
    node = PrivateNode(folder)
    try:
        assert urls == [node.url, node.url]
        assert len(_server_pids(node)) == 1   # and it outlives the commands that started it
        assert node.status().running
    finally:
        node.stop()
    assert _server_pids(node) == []
    assert not any(str(folder) in line for line in _all_arguments())
    assert not node.status().running


def _all_arguments():
    return subprocess.run(["ps", "-axww", "-o", "command="], capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_server_that_ends_at_once_is_a_host_fault_that_carries_what_it_said(tmp_path):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, text in {"rabbitmq-server": "echo the disk is on fire; exit 1", "rabbitmqctl": "exit 0", "epmd": "exit 0"}.items():
        programs.joinpath(name).write_text(f"#!/bin/sh\n{text}\n")
        programs.joinpath(name).chmod(0o755)
    host = Host({"PATH": os.defpath}, "Linux", frozenset(), is_root=False, server_folders=(str(programs),))
    with pytest.raises(HostFault, match="the disk is on fire"):
        PrivateNode(tmp_path / "broker", host=host).start()


def test_a_port_that_somebody_listens_on_is_refused(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(MisuseError, match="is taken"):
            PrivateNode(tmp_path / "broker", port=taken.getsockname()[1]).start()


def test_without_a_server_the_hint_is_the_command_that_installs_one(tmp_path):
    host = Host({"PATH": str(tmp_path)}, "Linux", frozenset({"fedora"}), is_root=False, server_folders=())
    with pytest.raises(BrokerMissing) as caught:
        PrivateNode(tmp_path / "broker", host=host).start()
    assert caught.value.hint == "Install one: sudo dnf install -y rabbitmq-server"


def test_a_node_that_was_never_started_is_not_running_and_stopping_it_makes_nothing(tmp_path):
    node = PrivateNode(tmp_path / "broker")
    node.stop()
    assert not node.status().running
    assert node.log_text(10) == ""
    assert not (tmp_path / "broker").exists()
    with pytest.raises(HostFault, match="ever started"):
        _ = node.url


def test_a_damaged_state_file_is_a_host_fault_that_names_it(tmp_path):
    tmp_path.joinpath("node.json").write_text("{")
    with pytest.raises(HostFault, match=r"node\.json"):
        PrivateNode(tmp_path).start()
