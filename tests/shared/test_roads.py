"""A URL chooses the road, and nothing is connected by choosing."""

import subprocess
import sys

import pytest

from modelcast.shared.amqp_road import AmqpRoad
from modelcast.shared.errors import MisuseError
from modelcast.shared.file_road import FileRoad
from modelcast.shared.http_road import HttpRoad
from modelcast.shared.roads import as_road, open_road


def test_amqp_urls_are_the_main_road_and_nothing_is_connected_yet() -> None:
    for url in ("amqp://nobody@127.0.0.1:1/", "amqps://nobody@127.0.0.1:1/"):
        assert isinstance(open_road(url), AmqpRoad)


def test_a_file_url_is_a_shared_directory_and_nothing_is_looked_at_yet() -> None:
    assert isinstance(open_road("file:///nowhere/models?poll=1&allow_shared_writes=yes"), FileRoad)
    with pytest.raises(MisuseError, match="no option"):
        open_road("file:///nowhere/models?chunks=amqp")


def test_the_options_for_chunks_are_understood_and_a_wrong_one_is_refused() -> None:
    assert isinstance(open_road("amqp://host/v?chunks=stream&stream_port=5552&heartbeat=30"), AmqpRoad)
    with pytest.raises(MisuseError, match="chunks"):
        open_road("amqp://host/v?chunks=fast")


@pytest.mark.parametrize("url", ["", "ftp://host", "/srv/models", "localhost:5672", "AMQP://host"])
def test_another_url_names_no_road(url: str) -> None:
    with pytest.raises(MisuseError, match="no address that modelcast knows"):
        open_road(url)


def test_an_unknown_queue_type_is_refused() -> None:
    assert isinstance(open_road("amqp://host", queue_type="quorum"), AmqpRoad)
    with pytest.raises(MisuseError, match="no queue type"):
        open_road("amqp://host", queue_type="lazy")


def test_a_refused_url_does_not_load_the_client_library() -> None:
    code = (
        "import sys\nfrom modelcast.shared.roads import as_road, open_road\n"
        "try: open_road('ftp://host')\nexcept Exception: pass\nprint('pika' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_an_http_url_is_a_server_and_nothing_is_connected_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELCAST_TOKEN", "mct_a_b")
    assert isinstance(open_road("http://127.0.0.1:1?connections=2"), HttpRoad)
    assert isinstance(as_road("https://models.invalid/behind"), HttpRoad)
    with pytest.raises(MisuseError, match="without TLS"):
        open_road("http://models.invalid")
    monkeypatch.delenv("MODELCAST_TOKEN")
    assert isinstance(open_road("http://models.invalid"), HttpRoad)


def test_each_road_loads_its_own_client_and_no_other() -> None:
    code = (
        "import sys\nfrom modelcast.shared.roads import open_road\nprint('modelcast.shared.http_line' in sys.modules)\n"
        "open_road('http://127.0.0.1:1')\nprint('pika' in sys.modules, 'modelcast.shared.file_road' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["False", "False", "False"]


def test_what_is_no_url_and_no_road_is_refused_where_it_is_handed_in() -> None:
    road = open_road("amqp://host")
    assert as_road(road) is road
    for wrong in (None, 5672, object()):
        with pytest.raises(MisuseError, match="no address of a broker"):
            as_road(wrong)  # type: ignore[arg-type]
