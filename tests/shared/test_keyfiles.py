"""Key files and key rings as people leave them lying about."""

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

from modelcast.shared.errors import InvalidKey, MissingPath, MisuseError
from modelcast.shared.keyfiles import generate, load_key_ring, load_signing_key, load_trusted_keys, public_pem
from modelcast.shared.signing import SigningKey, TrustedKey


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return generate(tmp_path / "keys" / "training")


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


# --------------------------------------------------------------------------- pairs


def test_a_new_pair_signs_and_is_trusted(pair: tuple[Path, Path]) -> None:
    private, public = pair
    key, (trusted,) = load_signing_key(private), load_trusted_keys(public)
    assert key.key_id == trusted.key_id
    assert load_key_ring([public]).open(key.sign("t", b"x"), "t", what="test")[0] == b"x"


def test_only_the_owner_can_read_a_new_private_key(pair: tuple[Path, Path]) -> None:
    assert [stat.S_IMODE(path.stat().st_mode) & 0o077 for path in pair[:1]] == [0]
    assert [path.name for path in pair] == ["training.key", "training.pub"]


def test_keys_are_never_overwritten(pair: tuple[Path, Path]) -> None:
    before = [path.read_bytes() for path in pair]
    for lost in (None, *pair):
        if lost is not None:
            lost.unlink()
        with pytest.raises(MisuseError, match="exists already"):
            generate(pair[0].with_suffix(""))
        if lost is not None:
            lost.write_bytes(before[pair.index(lost)])
    assert [path.read_bytes() for path in pair] == before


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MissingPath):
        generate(tmp_path / "file" / "training")


def test_a_public_key_is_written_as_it_is_read(pair: tuple[Path, Path]) -> None:
    (trusted,) = load_trusted_keys(pair[1])
    assert public_pem(trusted) == pair[1].read_text()


# --------------------------------------------------------------------------- private keys


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620, 0o601, 0o777])
def test_a_private_key_that_others_may_touch_is_refused(pair: tuple[Path, Path], mode: int) -> None:
    pair[0].chmod(mode)
    with pytest.raises(InvalidKey, match="others") as caught:
        load_signing_key(pair[0])
    assert "chmod 600" in str(caught.value.hint)


def test_a_public_key_given_as_a_private_one_is_recognised(pair: tuple[Path, Path]) -> None:
    pair[1].chmod(0o600)
    with pytest.raises(InvalidKey) as caught:
        load_signing_key(pair[1])
    assert "public half" in str(caught.value.hint)


def test_a_private_key_given_as_a_public_one_is_recognised(pair: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidKey, match="private key"):
        load_trusted_keys(pair[0])


@pytest.mark.parametrize("content", [b"", b"\n", b"nonsense", b"\x00" * 64, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    path = private_file(tmp_path / "x", content)
    for load in (load_signing_key, load_trusted_keys):
        with pytest.raises(InvalidKey, match=r"x") as caught:
            load(path)
        assert caught.value.hint


def test_a_key_of_another_kind_is_refused(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    pem = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(InvalidKey, match="Ed25519"):
        load_signing_key(private_file(tmp_path / "rsa.key", pem))
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidKey, match="Ed25519"):
        load_trusted_keys(private_file(tmp_path / "rsa.pub", public))


def test_an_encrypted_key_is_refused(tmp_path: Path, signing_key: SigningKey) -> None:
    pem = signing_key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    with pytest.raises(InvalidKey):
        load_signing_key(private_file(tmp_path / "x.key", pem))


def test_a_file_that_is_far_too_large_is_not_parsed(tmp_path: Path) -> None:
    path = private_file(tmp_path / "x", b"-" * 1024 * 1024)
    for load in (load_signing_key, load_trusted_keys):
        with pytest.raises(InvalidKey, match="too large"):
            load(path)


def test_a_path_that_is_no_file_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "nothing" / "here"):
        for load in (load_signing_key, load_trusted_keys):
            with pytest.raises(MissingPath, match="Cannot read"):
                load(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_missing(pair: tuple[Path, Path]) -> None:
    pair[1].chmod(0)
    with pytest.raises(MissingPath):
        load_trusted_keys(pair[1])


def test_no_error_shows_the_key(tmp_path: Path, key_file: Path) -> None:
    secret = key_file.read_text().splitlines()[1]
    key_file.chmod(0o644)
    broken = private_file(tmp_path / "broken.key", key_file.read_bytes().replace(b"END", b"EN"))
    for load, path in ((load_signing_key, key_file), (load_trusted_keys, key_file), (load_signing_key, broken)):
        with pytest.raises(InvalidKey) as caught:
            load(path)
        assert secret not in f"{caught.value!r} {caught.value.hint} {caught.value.facts} {caught.value.__cause__!r}"


# --------------------------------------------------------------------------- key rings


def ring(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_key_ring_says_what_each_key_may_sign(pair: tuple[Path, Path]) -> None:
    path = ring(pair[1].parent / "trust.toml", '[[key]]\nfile = "training.pub"\nmodels = ["fraud"]\nchannels = []\n[[key]]\nfile = "training.pub"\n')
    narrow, wide = load_trusted_keys(path)
    assert (narrow.models, narrow.channels) == (("fraud",), ())
    assert (wide.models, wide.channels) == (("*",), ("*",))


def test_paths_and_keys_can_be_mixed(pair: tuple[Path, Path], signing_key: SigningKey) -> None:
    path = ring(pair[1].parent / "trust.toml", '[[key]]\nfile = "training.pub"\n')
    given_key = TrustedKey(signing_key.private.public_key(), models=("churn",))
    keys = load_key_ring([given_key, str(path), pair[1]]).keys
    assert [key.models for key in keys] == [("churn",), ("*",), ("*",)]


@pytest.mark.parametrize(
    "text",
    [
        "", "key = 3", "key = [3]", '[key]\nfile = "training.pub"', "[[key]]", "[[key]]\nfile = ", '[[key]]\nfile = "training.pub"\nmodels = "fraud"',
        '[[key]]\nfile = "training.pub"\nchannels = [1]', '[[key]]\nfile = "trust.toml"', '[[key]]\nfile = "training.key"',
    ],
)
def test_what_is_no_key_ring_is_refused(pair: tuple[Path, Path], text: str) -> None:
    with pytest.raises(InvalidKey):
        load_trusted_keys(ring(pair[1].parent / "trust.toml", text))


def test_a_key_ring_of_other_bytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidKey):
        load_trusted_keys(private_file(tmp_path / "trust.toml", b"\xff\xfe\x00"))


def test_a_key_that_a_ring_names_and_nobody_has_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingPath, match=r"nobody\.pub"):
        load_trusted_keys(ring(tmp_path / "trust.toml", '[[key]]\nfile = "nobody.pub"\n'))
