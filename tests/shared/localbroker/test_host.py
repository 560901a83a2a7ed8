"""What is said of a machine, and where a node's folder lies."""

import sys
from pathlib import Path

import pytest

from modelcast.shared.localbroker.host import Host, default_state_dir


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
