"""Bytes come from memory without copies and from disk without being held."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelcast.publisher.sources import DiskFile, MemoryFile, files_of
from modelcast.shared.errors import ChangedWhileReading, EmptyArtifact, MissingPath


@given(st.lists(st.binary(max_size=30), max_size=8), st.data())
def test_a_memory_file_reads_like_its_parts_joined(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    file = MemoryFile("x", parts)
    assert file.size == len(whole)
    if whole:
        offset = data.draw(st.integers(0, len(whole) - 1))
        size = data.draw(st.integers(1, len(whole) - offset))
        assert bytes(file.read(offset, size)) == whole[offset : offset + size]


def test_reading_within_one_buffer_copies_nothing() -> None:
    buffer = bytearray(b"abcdef")
    view = MemoryFile("x", [memoryview(buffer)]).read(1, 3)
    buffer[1] = ord("B")
    assert bytes(view) == b"Bcd"


def test_a_folder_is_its_files_sorted_by_path_empty_ones_too(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b").write_bytes(b"12")
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "none").write_bytes(b"")
    assert [(file.path, file.size) for file in files_of(tmp_path)] == [("a", 1), ("none", 0), ("sub/b", 2)]


def test_nothing_to_publish_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(EmptyArtifact, match="holds no bytes"):
        files_of(tmp_path / "empty")
    with pytest.raises(EmptyArtifact):
        files_of(tmp_path)
    with pytest.raises(MissingPath, match="does not exist"):
        files_of(tmp_path / "nowhere")


def test_what_is_no_regular_file_is_refused_instead_of_read_forever(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(MissingPath, match="no regular file"):
        files_of(tmp_path)


def test_a_file_that_shrinks_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.write_bytes(b"x" * 100)
    file = DiskFile("model", path)
    path.write_bytes(b"x" * 10)
    with pytest.raises(ChangedWhileReading):
        file.read(50, 50)
    path.unlink()
    with pytest.raises(MissingPath):
        file.read(0, 1)
