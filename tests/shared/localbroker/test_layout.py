"""The folder of a node: all of it for its owner, all of it on loopback, nothing of the system's own RabbitMQ."""

import stat
from pathlib import Path

from modelcast.shared.localbroker.layout import NodeFolder, configuration
from modelcast.shared.localbroker.record import NodeRecord

RECORD = NodeRecord(26001, 26002, 26003, 26004, "secret")


def test_two_folders_are_two_nodes_and_one_folder_is_always_the_same(tmp_path: Path) -> None:
    assert NodeFolder(tmp_path / "a").node_name != NodeFolder(tmp_path / "b").node_name
    assert NodeFolder(tmp_path / "a").node_name == NodeFolder(tmp_path / "b" / ".." / "a").node_name


def test_every_file_that_the_server_reads_is_there_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path / "node")
    folder.make()
    folder.lay_out(RECORD)
    files = [path for path in folder.path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"rabbitmq.conf", "enabled_plugins", ".erlang.cookie", "advanced.config"}
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 for path in [folder.path, *files])


def test_a_second_start_keeps_the_cookie_and_sets_the_logs_aside(tmp_path: Path) -> None:
    folder = NodeFolder(tmp_path / "node")
    folder.make()
    folder.lay_out(RECORD)
    (cookie,) = folder.path.rglob(".erlang.cookie")
    before = cookie.read_text()
    folder.log.write_text("old")
    folder.lay_out(RECORD)
    folder.set_logs_aside()
    assert cookie.read_text() == before
    assert folder.log.with_name(folder.log.name + ".previous").read_text() == "old"


def test_the_configuration_listens_on_loopback_only() -> None:
    listeners = [line for line in configuration(RECORD).splitlines() if "listeners" in line]
    assert len(listeners) == 2
    assert all("127.0.0.1:" in line for line in listeners)


def test_the_environment_points_everything_into_the_folder(tmp_path: Path) -> None:
    variables = NodeFolder(tmp_path / "node").variables(RECORD, "/usr/bin")
    paths = {name: value for name, value in variables.items() if value.startswith("/") and name != "PATH"}
    assert len(paths) >= 8
    assert all(value.startswith(str(tmp_path)) for value in paths.values())
    assert (variables["ERL_EPMD_ADDRESS"], variables["ERL_EPMD_PORT"]) == ("127.0.0.1", "26004")
