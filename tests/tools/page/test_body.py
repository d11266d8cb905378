"""Bodies: what comes out is what went in, and never more than is allowed."""

import gzip
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import PageLimitError, SearchBudgetError, UnreadablePageError
from moesaic.tools.page.body import read_body

MIB = 2**20


async def chunked(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def read(content: bytes, encoding: str = "", limit: int = MIB, size: int = 1000) -> tuple[bytes, int]:
    pieces = [content[start : start + size] for start in range(0, len(content), size)]
    spent: list[int] = []
    body = await read_body(
        chunked(*pieces), encoding=encoding, limit=limit, url="http://site.test/", spend=spent.append
    )
    return body, sum(spent)


def raw_deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(content) + compressor.flush()


PACKERS = {
    "": lambda content: content,
    "identity": lambda content: content,
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "GZIP ": gzip.compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", PACKERS)
@pytest.mark.parametrize("content", [b"", b"x", b"hello " * 5000, bytes(range(256)) * 100])
async def test_what_went_in_comes_out(encoding: str, content: bytes) -> None:
    packed = PACKERS[encoding](content)
    assert await read(packed, encoding) == (content, len(packed))
    assert (await read(packed, encoding, size=1))[0] == content


async def test_deflate_without_a_header_is_read_too() -> None:
    assert (await read(raw_deflate(b"old server " * 100), "deflate"))[0] == b"old server " * 100


async def test_several_members_are_one_body_and_padding_is_none() -> None:
    packed = gzip.compress(b"one ") + gzip.compress(b"two")
    assert (await read(packed, "gzip"))[0] == b"one two"
    assert (await read(packed + b"\0" * 100, "gzip", size=7))[0] == b"one two"


@given(st.lists(st.binary(max_size=300), max_size=8), st.sampled_from(["", "gzip", "deflate"]), st.integers(1, 50))
async def test_pieces_of_any_size_give_the_same(parts: Sequence[bytes], encoding: str, size: int) -> None:
    content = b"".join(parts)
    packed = PACKERS[encoding](content)
    assert (await read(packed, encoding, size=size))[0] == content


@pytest.mark.parametrize("encoding", ["", "gzip", "deflate"])
async def test_the_bound_is_exact(encoding: str) -> None:
    content = bytes(i * 7919 % 251 for i in range(5000))
    assert (await read(PACKERS[encoding](content), encoding, limit=5100))[0] == content
    with pytest.raises(PageLimitError, match="more than 4999 bytes"):
        await read(PACKERS[encoding](content), encoding, limit=4999)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_bomb_is_stopped_when_its_first_bytes_come_out(encoding: str) -> None:
    bomb = PACKERS[encoding](b"\0" * (64 * MIB))
    assert len(bomb) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(PageLimitError, match=r"more than 1048576 bytes \(\d+ as received\)"):
            await read(bomb, encoding, size=len(bomb))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB


async def test_who_counts_the_bytes_may_end_the_reading() -> None:
    def spend(count: int) -> None:
        raise SearchBudgetError("spent", resource="bytes")

    with pytest.raises(SearchBudgetError):
        await read_body(chunked(b"x"), encoding="", limit=10, url="http://site.test/", spend=spend)


async def test_a_bomb_of_many_members_is_stopped() -> None:
    with pytest.raises(PageLimitError, match="more than 1000 bytes"):
        await read(gzip.compress(b"\0" * 500) * 50, "gzip", limit=1000)


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x", "gzip;q=1"])
async def test_encodings_that_were_not_asked_for_are_refused(encoding: str) -> None:
    with pytest.raises(UnreadablePageError, match="though only gzip, deflate were asked for"):
        await read(b"\x8b\x02\x80hello\x03", encoding)


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (gzip.compress(b"hello " * 100, mtime=0)[:-10], "gzip"),
        (gzip.compress(b"hello " * 100, mtime=0)[:5], "gzip"),
        (b"plain text, not gzip", "gzip"),
        (zlib.compress(b"hello " * 100)[:-2], "deflate"),
        (b"\xff\xff\xff\xff", "deflate"),
        (gzip.compress(b"hello", mtime=0)[:-8] + b"\0" * 8, "gzip"),
    ],
)
async def test_damaged_bodies_are_refused(content: bytes, encoding: str) -> None:
    with pytest.raises(UnreadablePageError, match="is damaged"):
        await read(content, encoding)
