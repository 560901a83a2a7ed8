"""What is said of a machine, and where a node's folder lies."""

import sys
from pathlib import Path

import pytest

from modelcast.shared.errors import BrokerMissing
from modelcast.shared.localbroker.host import Host, default_state_dir
from modelcast.shared.localbroker.programs import find_programs


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no XDG folders")
def test_the_folder_of_the_node_follows_xdg_and_ignores_a_relative_one():
    assert default_state_dir({"XDG_STATE_HOME": "/states"}) == Path("/states/modelcast/broker")
    home = Path.home() / ".local/state/modelcast/broker"
    assert default_state_dir({"XDG_STATE_HOME": "states"}) == home
    assert default_state_dir({}) == home


def test_the_variables_of_a_host_are_not_in_its_repr():
    host = Host({"MODELCAST_AMQP_URL": "amqp://me:secret@there"}, "Linux", frozenset(), is_root=False, server_folders=())
    assert "secret" not in repr(host)


def test_this_machine_is_described_without_fail():
    host = Host.here()
    assert host.search_path
    assert host.install_command()
    assert host.find("sh")


def test_a_server_that_is_installed_after_the_host_was_described_is_found(tmp_path):
    host = Host({"PATH": "/bin:/usr/bin"}, "Linux", frozenset(), is_root=False, server_folders=(f"{tmp_path}/server-*/sbin",))
    with pytest.raises(BrokerMissing):
        find_programs(host)
    for version in ("3.9", "4.0"):
        folder = tmp_path / f"server-{version}" / "sbin"
        folder.mkdir(parents=True)
        for name in ("rabbitmq-server", "rabbitmqctl", "epmd"):
            folder.joinpath(name).touch()
    assert find_programs(host).server == tmp_path / "server-4.0" / "sbin" / "rabbitmq-server"
