"""Frames of reports: whole ones are read, the rest waits."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.depot.frames import Frame, read_frames

frames = st.lists(st.builds(Frame, st.integers(0, 2**63), st.binary(max_size=50)), max_size=5)


@given(frames, st.integers(0, 200))
def test_of_what_is_there_the_whole_frames_are_read(written: list[Frame], there: int) -> None:
    content = b"".join(frame.to_bytes() for frame in written)
    read, length = read_frames(content[:there])
    assert read == written[: len(read)]
    assert b"".join(frame.to_bytes() for frame in read) == content[:length]
    again, _ = read_frames(content[length:])
    assert read + again == written


@given(st.binary(max_size=100))
def test_any_bytes_are_read_without_a_fault(content: bytes) -> None:
    _, length = read_frames(content)
    assert 0 <= length <= len(content)


def test_nothing_behind_a_damaged_frame_is_believed() -> None:
    content = bytearray(Frame(1, b"one").to_bytes() + Frame(2, b"two").to_bytes())
    content[-1] ^= 1
    assert read_frames(bytes(content))[0] == [Frame(1, b"one")]
