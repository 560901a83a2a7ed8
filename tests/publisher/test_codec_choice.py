"""Chunks are packed where the file as a whole shrinks, and each of them does."""

import random
from dataclasses import replace

from modelcast.publisher.build import Draft, Facts, draft
from modelcast.publisher.codec_choice import PLAIN, CodecChoice
from modelcast.publisher.environment import environment
from modelcast.publisher.sources import MemoryFile
from modelcast.shared.compression import CODEC, unpack_chunk
from modelcast.shared.limits import KIB, MIB

TEXT = b"the same again and again, " * 40_000
NOISE = random.Random(1).randbytes(len(TEXT))


def drafted(*contents: bytes) -> Draft:
    files = [MemoryFile(f"f{index}", [content]) for index, content in enumerate(contents)]
    return draft(files, Facts("m", "1.0.0", environment([])), artifact_format="files", loader="files", chunk_bytes=128 * KIB)


def codecs(whole: Draft) -> list[str]:
    choice, found = CodecChoice(whole), []
    for place in whole.places():
        content = whole.read(place)
        codec, body = choice.encode(place, content)
        assert (unpack_chunk(body, max_bytes=MIB) if codec == CODEC else body) == content
        found.append(codec)
    return found


def test_a_file_that_shrinks_is_packed_and_one_that_does_not_is_left_alone() -> None:
    whole = drafted(TEXT, NOISE)
    first = len(whole.sizes[0])
    assert codecs(whole) == [CODEC] * first + [PLAIN] * len(whole.sizes[1])


def test_a_chunk_that_does_not_shrink_is_left_alone_in_a_file_that_does() -> None:
    found = codecs(drafted(TEXT + NOISE[: 256 * KIB]))
    assert {CODEC, PLAIN} == set(found)


def test_a_small_file_is_not_looked_at() -> None:
    assert codecs(drafted(b"abc" * 100)) == [PLAIN]


def test_nothing_is_packed_where_the_caller_wants_none() -> None:
    assert set(codecs(replace(drafted(TEXT), pack=False))) == {PLAIN}
