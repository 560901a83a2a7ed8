"""What the commands share: filters become a wish, and a mistake is said."""

import pytest

from modelcast.consumer.deadletters.asking import wish_of
from modelcast.consumer.deadletters.choosing import ANY, Wish
from modelcast.shared.cli.output import Output
from modelcast.shared.errors import MisuseError

NOTHING = dict.fromkeys(("model", "version", "channel", "instance", "reason", "since"))


def test_filters_become_a_wish() -> None:
    output = Output(as_json=True)
    assert wish_of(NOTHING, output) == ANY
    named = {"model": "fraud", "version": "2.1.0", "channel": "production", "instance": "web-1", "reason": "too-large"}
    assert wish_of(NOTHING | named, output) == Wish(**named)
    assert wish_of(NOTHING | {"since": "1970-01-02"}, output) == Wish(since_ms=86_400_000)
    with pytest.raises(MisuseError):
        wish_of(NOTHING | {"since": "soon"}, output)


def test_a_reason_that_is_not_known_is_asked_for_all_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert wish_of(NOTHING | {"reason": "of-a-newer-version"}, Output(as_json=True)) == Wish(reason="of-a-newer-version")
    assert "no reason that this version" in capsys.readouterr().err
    for known in ("unreported", "load-failed"):
        wish_of(NOTHING | {"reason": known}, Output(as_json=True))
    assert capsys.readouterr().err == ""
