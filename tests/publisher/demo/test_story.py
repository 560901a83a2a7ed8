"""Where no broker can be had the story takes a shared directory, and says so and how to get the broker."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from modelcast.publisher.demo.stage import Narrator
from modelcast.publisher.demo.story import _road
from modelcast.shared.cli.output import Output
from modelcast.shared.errors import BrokerMissing
from modelcast.shared.localbroker.chooser import RunningBroker, choose_broker_on
from modelcast.shared.localbroker.host import Host

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
    with _road(narrator, tmp_path, "auto", keep=False, choose=chooser(BARE)) as url:
        assert url == f"file://{tmp_path}/depot"
        assert (tmp_path / "depot").stat().st_mode & 0o777 == 0o700
    told = capsys.readouterr().out
    assert "So a shared directory carries the releases. For the main road: " in told
    assert "install" in told


def test_a_broker_that_can_be_had_is_taken_unless_a_directory_was_asked_for(narrator: Narrator, tmp_path: Path) -> None:
    with _road(narrator, tmp_path, "auto", keep=False, choose=chooser(NAMED)) as url:
        assert url == "amqp://u:p@elsewhere/"
    with _road(narrator, tmp_path, "file", keep=False, choose=chooser(NAMED)) as url:
        assert url.startswith("file:///")


def test_who_asks_for_rabbitmq_gets_no_directory(narrator: Narrator, tmp_path: Path) -> None:
    with pytest.raises(BrokerMissing), _road(narrator, tmp_path, "rabbitmq", keep=False, choose=chooser(BARE)):
        pass
