"""Where no broker can be had the story takes a shared directory, and says so and how to get the broker."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from modelcast.publisher.demo import ground as ground_module
from modelcast.publisher.demo.ground import prepare
from modelcast.publisher.demo.stage import Narrator
from modelcast.shared.cli.output import Output
from modelcast.shared.errors import BrokerMissing, BrokerUnreachable, HostFault, PermissionRefused
from modelcast.shared.localbroker.chooser import RunningBroker, choose_broker_on
from modelcast.shared.localbroker.host import Host
from modelcast.shared.roads import open_road

BARE = Host({}, "Linux", frozenset(), is_root=False, server_folders=())
NAMED = Host({"MODELCAST_URL": "amqp://u:p@elsewhere/"}, "Linux", frozenset(), is_root=False, server_folders=())


def chooser(host: Host) -> Callable[..., RunningBroker]:
    return partial(choose_broker_on, host, skip_docker=True)


@pytest.fixture
def narrator() -> Narrator:
    return Narrator(Output(as_json=False))


def test_without_a_broker_a_directory_carries_the_releases_and_the_way_to_a_broker_is_told(
    narrator: Narrator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with prepare(narrator, tmp_path, "auto", keep=False, choose=chooser(BARE)) as ground:
        assert ground.url == ground.instances_url == ground.unguarded_url == f"file://{tmp_path}/depot"
        assert (tmp_path / "depot").stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr().out
    assert "So a shared directory carries the releases. For the main road: " in told
    assert "install" in told


def test_a_broker_that_can_be_had_is_taken_unless_a_directory_was_asked_for(narrator: Narrator, tmp_path: Path) -> None:
    with prepare(narrator, tmp_path, "auto", keep=False, choose=chooser(NAMED)) as ground:
        assert ground.url == "amqp://u:p@elsewhere/"
    with prepare(narrator, tmp_path, "file", keep=False, choose=chooser(NAMED)) as ground:
        assert ground.url.startswith("file:///")


def test_who_asks_for_rabbitmq_gets_no_directory(narrator: Narrator, tmp_path: Path) -> None:
    with pytest.raises(BrokerMissing), prepare(narrator, tmp_path, "rabbitmq", keep=False, choose=chooser(BARE)):
        pass


def test_a_server_stands_before_the_directory_with_a_token_for_each_and_is_gone_afterwards(narrator: Narrator, tmp_path: Path) -> None:
    with prepare(narrator, tmp_path, "http", keep=False) as ground:
        assert ground.unguarded_url == f"file://{tmp_path}/depot"
        files = [Path(parse_qs(urlsplit(url).query)["token_file"][0]) for url in (ground.url, ground.instances_url)]
        assert [file.stat().st_mode & 0o777 for file in files] == [0o600, 0o600]
        assert files[0].read_text() != files[1].read_text()
        open_road(ground.url).publish("fraud", "production").close()
        with pytest.raises(PermissionRefused):
            open_road(ground.instances_url).publish("fraud", "production")
    with pytest.raises(BrokerUnreachable):
        open_road(ground.url).publish("fraud", "production")


def test_a_server_that_does_not_start_says_why(narrator: Narrator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground_module, "_command", lambda *_words: [sys.executable, "-c", "raise SystemExit('no port is free')"])
    with pytest.raises(HostFault, match="no port is free"), prepare(narrator, tmp_path, "http", keep=False):
        pass
