"""A buffer that shows what was received in one piece, in order, and grows no further than it must."""

from hypothesis import given
from hypothesis import strategies as st

from modelcast.shared.receive_window import AHEAD_BYTES, LITTLE_BYTES, ReceiveWindow


@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 300)), max_size=30))
def test_what_is_received_is_shown_in_order_whatever_is_asked_for(steps: list[tuple[int, int]]) -> None:
    window, sent, shown = ReceiveWindow(64), 0, 0
    for count, most in steps:
        while window.held < count:
            room = window.room(count)
            assert len(room) >= count - window.held
            piece = min(len(room), most)
            room[:piece] = bytes((sent + number) % 251 for number in range(piece))
            window.filled(piece)
            sent += piece
        assert bytes(window.view(count)) == bytes((shown + number) % 251 for number in range(count))
        window.take(count)
        shown += count
    assert window.capacity <= 200 + AHEAD_BYTES


def test_the_buffer_grows_to_what_is_needed_and_is_used_again() -> None:
    window = ReceiveWindow(100)
    for _ in range(50):
        while window.held < 1_000_000:
            window.filled(len(window.room(1_000_000)))
        window.take(1_000_000)
    assert window.capacity == 1_000_000 + AHEAD_BYTES


def test_a_little_that_is_left_is_moved_rather_than_received_behind_in_pieces() -> None:
    window = ReceiveWindow(4 * LITTLE_BYTES)
    window.filled(len(window.room(4 * LITTLE_BYTES)))
    window.take(4 * LITTLE_BYTES - 10)
    assert len(window.room(20)) == 4 * LITTLE_BYTES - 10
