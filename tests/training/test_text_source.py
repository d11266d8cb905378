"""Text becomes rows in which every token of a pass occurs once, the same for any number of processes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from moesaic.errors import CorpusError, DamagedRunError, RecipeError
from moesaic.training.batch import IGNORED
from moesaic.training.text_source import TextConfig, TextSource, read_documents
from tests.training.tiny_run import tokenizer_of

DOCUMENTS = [list(range(10 * start, 10 * start + length)) for start, length in enumerate((7, 3, 12, 5, 9), start=1)]
END = 256


def source(**changes: Any) -> TextSource:
    return TextSource(DOCUMENTS, **({"eos": END, "sequence_length": 8, "rows": 2, "seed": 4} | changes))


def test_a_pass_has_every_token_once_but_for_the_rest() -> None:
    made = source(rows=1)
    rows = [made.next() for _ in range(5)]  # 36 tokens and 5 ends: five rows of eight, one token left over
    ids = torch.cat([row.input_ids_BS for row in rows]).flatten().tolist()
    everything = sorted([token for document in DOCUMENTS for token in document] + [END] * 5)
    assert len(ids) == 40
    left = list(everything)
    for token in ids:
        left.remove(token)
    assert len(left) == 1


def test_documents_are_told_apart_and_begin_without_a_label() -> None:
    batch = source(rows=5).next()
    for ids_S, labels_S, documents_S in zip(batch.input_ids_BS, batch.labels_BS, batch.documents_BS, strict=True):
        assert documents_S[0] == 0
        begins = [0, *[i for i in range(1, 8) if documents_S[i] != documents_S[i - 1]]]
        assert [i for i in range(8) if labels_S[i] == IGNORED] == begins
        assert all(ids_S[i - 1] == END for i in begins[1:])
        assert all(labels_S[i] == ids_S[i] for i in range(8) if i not in begins)


def test_processes_share_the_rows_of_one() -> None:
    whole, parts = source(rows=4), [source(rows=4, rank=rank, world_size=2) for rank in range(2)]
    for _ in range(5):
        expected, found = whole.next(), [part.next() for part in parts]
        assert torch.equal(found[0].input_ids_BS, expected.input_ids_BS[0::2])
        assert torch.equal(found[1].input_ids_BS, expected.input_ids_BS[1::2])
    assert whole.state() == parts[0].state() == parts[1].state()


def test_a_restored_position_goes_on_exactly() -> None:
    made, other = source(), source()
    for _ in range(7):
        made.next()
    other.restore(made.state())
    for _ in range(7):
        first, second = made.next(), other.next()
        assert torch.equal(first.input_ids_BS, second.input_ids_BS)
        assert torch.equal(first.documents_BS, second.documents_BS)


def test_the_seed_decides_the_order() -> None:
    assert not torch.equal(source(seed=1).next().input_ids_BS, source(seed=2).next().input_ids_BS)


def test_positions_of_other_text_are_refused() -> None:
    with pytest.raises(DamagedRunError, match="a pass of which has 5 rows"):
        source().restore({"pass": 0, "row": 1, "rows_of_pass": 9})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sequence_length": 1}, RecipeError),
        ({"rows": 3, "world_size": 2}, RecipeError),
        ({"rank": 2, "world_size": 2}, RecipeError),
        ({"sequence_length": 42}, CorpusError),
    ],
)
def test_numbers_out_of_range_are_refused(changes: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        source(**changes)


def test_files_folders_and_paragraphs(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.txt").write_text("first\n\nsecond\n\n\n", encoding="utf-8")
    (tmp_path / "a" / "two.md").write_text("合同", encoding="utf-8")
    (tmp_path / "a" / "three.bin").write_bytes(b"\xff")
    (tmp_path / "gb.txt").write_bytes("全面履行".encode("gb18030"))
    whole = read_documents(TextConfig(paths=(tmp_path / "a",)))
    assert whole == ["first\n\nsecond\n\n\n", "合同"]
    assert read_documents(TextConfig(paths=(tmp_path / "a",), split="paragraphs")) == ["first", "second", "合同"]
    assert read_documents(TextConfig(paths=(tmp_path / "gb.txt",), encoding="gb18030")) == ["全面履行"]
    with pytest.raises(CorpusError, match=r"gb\.txt is not text in utf-8"):
        read_documents(TextConfig(paths=(tmp_path / "gb.txt",)))
    with pytest.raises(CorpusError, match="there is no file or folder"):
        read_documents(TextConfig(paths=(tmp_path / "none.txt",)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="hold no text"):
        read_documents(TextConfig(paths=(tmp_path / "empty",)))
    with pytest.raises(RecipeError, match="names no text"):
        TextConfig(paths=())


def test_text_is_tokenized_with_an_end_after_each_document(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path)
    made = TextSource.of(["ab", "合"], tokenizer, sequence_length=7, rows=1)
    ids = made.next().input_ids_BS[0].tolist()
    assert tokenizer.decode(ids).split("<|end|>")[:2] in (["ab", "合"], ["合", "ab"])
