"""Making keys and looking at them."""

import json
import stat
from pathlib import Path

from click.testing import CliRunner

from modelcast.shared.cli.keys import keys
from modelcast.shared.errors import MisuseError


def test_a_pair_is_made_and_shown_with_one_id(tmp_path: Path) -> None:
    made = json.loads(CliRunner().invoke(keys, ["generate", str(tmp_path / "keys" / "training"), "--json"]).stdout)
    private, public = Path(made["private"]), Path(made["public"])
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    for path in (private, public):
        shown = CliRunner().invoke(keys, ["show", str(path), "--json"]).stdout
        assert json.loads(shown)["keys"][0]["key_id"] == made["key_id"]
        assert "PRIVATE" not in shown
    assert made["key_id"] in CliRunner().invoke(keys, ["show", str(public)]).stdout


def test_a_person_is_told_which_half_goes_where(tmp_path: Path) -> None:
    told = CliRunner().invoke(keys, ["generate", str(tmp_path / "training")]).stdout
    assert "private" in told
    assert "trust=[" in told


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    CliRunner().invoke(keys, ["generate", str(tmp_path / "training")])
    before = (tmp_path / "training.key").read_bytes()
    again = CliRunner().invoke(keys, ["generate", str(tmp_path / "training")])
    assert isinstance(again.exception, MisuseError)
    assert (tmp_path / "training.key").read_bytes() == before


def test_a_key_ring_shows_what_each_key_may_sign(tmp_path: Path) -> None:
    CliRunner().invoke(keys, ["generate", str(tmp_path / "training")])
    ring = tmp_path / "ring.toml"
    ring.write_text('[[key]]\nfile = "training.pub"\nmodels = ["fraud"]\nchannels = []\n')
    shown = json.loads(CliRunner().invoke(keys, ["show", str(ring), "--json"]).stdout)
    assert (shown["keys"][0]["models"], shown["keys"][0]["channels"]) == (["fraud"], [])
    assert "fraud" in CliRunner().invoke(keys, ["show", str(ring)]).stdout
