"""Shards give back what went in, go on after kill -9, and say what is wrong with them."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, InputError, RunBusyError, StorageError
from moesaic.training.data.shard_index import INDEX_NAME, ShardIndex
from moesaic.training.data.shard_reader import ShardReader
from moesaic.training.data.shard_writer import ShardWriter
from tests.repository import ROOT
from tests.training.data.shard_builder import EOS, VOCAB, numbered_documents, write_shards

DOCUMENTS = numbered_documents([3, 20, 1, 30, 7, 60, 2])


def test_documents_come_back_with_their_end_tokens(tmp_path: Path) -> None:
    reader = write_shards(tmp_path, DOCUMENTS)
    assert [ids.tolist() for ids in reader] == [[*ids, EOS] for ids in DOCUMENTS]
    assert reader.lengths_N.tolist() == [len(ids) + 1 for ids in DOCUMENTS]
    assert [shard.documents for shard in reader.index.shards] == [4, 2, 1]
    assert (reader.index.tokens, reader.index.text_bytes) == (130, 3 * 123)
    assert reader.piece(3, 2, 5).tolist() == DOCUMENTS[3][2:5]


@given(
    documents=st.lists(st.lists(st.integers(0, VOCAB - 1), min_size=1, max_size=40), min_size=1, max_size=20),
    shard_tokens=st.integers(1, 100),
)
def test_any_documents_come_back(
    documents: list[list[int]], shard_tokens: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reader = write_shards(tmp_path_factory.mktemp("shards"), documents, shard_tokens=shard_tokens)
    assert [ids.tolist() for ids in reader] == [[*ids, EOS] for ids in documents]


@pytest.mark.parametrize(("vocab_size", "dtype"), [(1 << 16, "<u2"), ((1 << 16) + 1, "<u4")])
def test_ids_are_stored_as_small_as_the_vocabulary_allows(tmp_path: Path, vocab_size: int, dtype: str) -> None:
    reader = write_shards(tmp_path, [[1, vocab_size - 1]], vocab_size=vocab_size)
    assert reader[0].dtype == np.dtype(dtype)
    assert reader[0].tolist() == [1, vocab_size - 1, EOS]


def test_equal_documents_have_equal_digests_and_others_do_not(tmp_path: Path) -> None:
    first, again, other = (
        write_shards(tmp_path / name, documents)
        for name, documents in [("a", [[1, 2], [3]]), ("b", [[1, 2], [3]]), ("c", [[1], [2, 3]])]
    )
    assert first.digest == again.digest
    assert first.digest != other.digest


def test_a_writer_goes_on_after_its_last_whole_shard(tmp_path: Path) -> None:
    def writer(folder: Path) -> ShardWriter:
        return ShardWriter(folder, vocab_size=VOCAB, eos_token_id=EOS, shard_tokens=50)

    with writer(tmp_path / "a") as interrupted:
        for ids in DOCUMENTS[:6]:
            interrupted.add(ids)
        assert interrupted.documents == 6
    with pytest.raises(CorpusError, match="not complete"):
        ShardReader(tmp_path / "a")
    (tmp_path / "a" / "00002.tokens").write_bytes(b"half a shard")

    with writer(tmp_path / "a") as resumed:
        assert resumed.documents == 6
        resumed.add(DOCUMENTS[6])
        resumed.finish()
    with writer(tmp_path / "b") as whole:
        for ids in DOCUMENTS:
            whole.add(ids)
        whole.finish()
    assert ShardReader(tmp_path / "a").digest == ShardReader(tmp_path / "b").digest


# It waits to be killed at a document, if it comes so far: whoever kills it may not be scheduled for a while.
KILLED = """
import sys
from moesaic.training.data.shard_writer import ShardWriter
with ShardWriter(sys.argv[1], vocab_size=1000, eos_token_id=0, shard_tokens=40) as writer:
    start = writer.documents
    for number in range(start, 200):
        writer.add([1 + number % 999] * (1 + number % 7))
        print(number, flush=True)
        if number == int(sys.argv[2]):
            sys.stdin.read()
    writer.finish()
"""


def test_killed_writers_leave_what_an_uninterrupted_one_would(tmp_path: Path) -> None:
    def start(folder: str, waits_at: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", KILLED, str(tmp_path / folder), str(waits_at)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    begins = []
    for lines, waits_at in ((25, 60), (40, 120), (None, -1)):
        with start("killed", waits_at) as process:
            assert process.stdout is not None
            begins.append(int(process.stdout.readline()))
            if lines is None:
                process.stdout.read()
                assert process.wait() == 0
                break
            for _ in range(lines):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    assert begins[0] == 0 < begins[1] < begins[2]
    with start("whole", -1) as process:
        process.communicate()
    killed, whole = ShardReader(tmp_path / "killed"), ShardReader(tmp_path / "whole")
    assert killed.index == whole.index
    assert len(killed) == 200


def test_one_process_writes_at_a_time(tmp_path: Path) -> None:
    with (
        ShardWriter(tmp_path, vocab_size=9, eos_token_id=0),
        pytest.raises(RunBusyError, match="another process"),
        ShardWriter(tmp_path, vocab_size=9, eos_token_id=0),
    ):
        pass


def test_complete_or_other_shards_are_not_written_over(tmp_path: Path) -> None:
    write_shards(tmp_path / "whole", DOCUMENTS)
    with (
        pytest.raises(CorpusError, match="are complete"),
        ShardWriter(tmp_path / "whole", vocab_size=9, eos_token_id=0),
    ):
        pass
    with ShardWriter(tmp_path / "begun", vocab_size=9, eos_token_id=0, shard_tokens=1) as writer:
        writer.add([1])
    with (
        pytest.raises(CorpusError, match="another tokenizer"),
        ShardWriter(tmp_path / "begun", vocab_size=8, eos_token_id=0),
    ):
        pass
    # The refusals let go of the folder.
    with ShardWriter(tmp_path / "begun", vocab_size=9, eos_token_id=0) as writer:
        assert writer.documents == 1


@pytest.mark.parametrize(
    ("ids", "fault"),
    [([], "has no tokens"), ([1, VOCAB], "token id 1000, allowed are 0 to 999"), ([-1], "token id -1")],
)
def test_bad_documents_are_refused_and_the_others_stay(tmp_path: Path, ids: list[int], fault: str) -> None:
    with ShardWriter(tmp_path, vocab_size=VOCAB, eos_token_id=EOS) as writer:
        writer.add([5])
        with pytest.raises(CorpusError, match=f"document 1 has .*{fault.removeprefix('has ')}"):
            writer.add(ids)
        writer.finish()
    assert [found.tolist() for found in ShardReader(tmp_path)] == [[5, EOS]]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"vocab_size": 0}, "vocab_size=0"),
        ({"eos_token_id": 9}, "eos_token_id=9 must be 0 to vocab_size"),
        ({"shard_tokens": 0}, "shard_tokens=0"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        ShardWriter(tmp_path, **({"vocab_size": 9, "eos_token_id": 0} | changes))


def test_no_document_at_all_is_an_error(tmp_path: Path) -> None:
    with (
        ShardWriter(tmp_path, vocab_size=9, eos_token_id=0) as writer,
        pytest.raises(CorpusError, match="there is no document"),
    ):
        writer.finish()


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["00001.tokens", "00000.offsets"])
def test_damage_is_found(tmp_path: Path, name: str) -> None:
    write_shards(tmp_path, DOCUMENTS)
    flip_a_byte(tmp_path / name)
    with pytest.raises(CorpusError, match=f"{name}.*(altered|damaged)"):
        ShardReader(tmp_path)


def test_truncated_empty_and_missing_files_are_found_without_digests(tmp_path: Path) -> None:
    write_shards(tmp_path, DOCUMENTS)
    path = tmp_path / "00000.tokens"
    whole = path.read_bytes()
    for content, fault in [(whole[:-2], "has 114 bytes, the index says 116"), (b"", "has 0 bytes")]:
        path.write_bytes(content)
        with pytest.raises(CorpusError, match=fault):
            ShardReader(tmp_path, verify=False)
    path.unlink()
    with pytest.raises(CorpusError, match="cannot be read"):
        ShardReader(tmp_path, verify=False)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", "is damaged"),
        ("[]", "is not an index of shards"),
        ('{"format": "moesaic-shards", "version": 2}', "version 2"),
        ('{"format": "moesaic-shards", "version": 1}', "is damaged"),
        ('{"format": "moesaic-shards", "version": 1, "shards": [{}]}', "is damaged"),
    ],
)
def test_a_bad_index_is_refused(tmp_path: Path, content: str, fault: str) -> None:
    (tmp_path / INDEX_NAME).write_text(content)
    with pytest.raises(CorpusError, match=fault):
        ShardReader(tmp_path)


def test_no_shards_and_empty_shards_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="has no shards"):
        ShardReader(tmp_path)
    ShardIndex(vocab_size=9, eos_token_id=0, tokenizer="", complete=True, shards=()).write(tmp_path)
    with pytest.raises(CorpusError, match="hold no document"):
        ShardReader(tmp_path)
    value = json.loads((tmp_path / INDEX_NAME).read_text())
    (tmp_path / INDEX_NAME).write_text(json.dumps(value | {"eos_token_id": 9}))
    with pytest.raises(CorpusError, match="out of its range"):
        ShardReader(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match=r"file/shards cannot be written \(Not a directory\)"),
        ShardWriter(tmp_path / "file" / "shards", vocab_size=9, eos_token_id=0),
    ):
        pass


def test_a_full_disk_leaves_no_partial_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    with ShardWriter(tmp_path, vocab_size=9, eos_token_id=0) as writer:
        writer.add([1])
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match=r"No space left on device.*free some space"):
                writer.finish()
        assert list(tmp_path.iterdir()) == []
        writer.finish()
    assert len(ShardReader(tmp_path)) == 1
