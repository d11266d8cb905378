"""Batches are mixed in fixed quotas, equal for equal states, and the same whatever number of processes share them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, DamagedRunError, RecipeError
from moesaic.training.batch import Batch
from moesaic.training.data.mixture import Component, MixtureSource
from moesaic.training.data.packing import PACKINGS
from moesaic.training.data.shard_reader import ShardReader
from tests.training.data.shard_builder import numbered_documents, write_shards

FIRST_DOMAIN, FIRST_GENERAL = 1, 500


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ShardReader]:
    """Two corpora with tokens of their own: 1 to 240, and 500 to 979."""
    folder = tmp_path_factory.mktemp("mixture")
    return {
        "domain": write_shards(folder / "domain", numbered_documents([7, 20, 13] * 6, FIRST_DOMAIN)),
        "general": write_shards(folder / "general", numbered_documents([11, 30, 7] * 10, FIRST_GENERAL)),
    }


def source(shards: dict[str, ShardReader], **changes: Any) -> MixtureSource:
    ratios = changes.pop("ratios", {"domain": 1, "general": 3})
    components = [Component(name=name, reader=shards[name], ratio=ratio) for name, ratio in ratios.items()]
    return MixtureSource(components, **({"sequence_length": 16, "rows": 8, "seed": 3} | changes))


def same(first: Batch, second: Batch) -> bool:
    names = ("input_ids_BS", "labels_BS", "documents_BS")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in names)


def origins(batch: Batch) -> list[str]:
    """Which corpus each row comes from."""
    return ["general" if int(ids.max()) >= FIRST_GENERAL else "domain" for ids in batch.input_ids_BS]


def test_every_batch_has_the_quota_of_each_corpus(shards: dict[str, ShardReader]) -> None:
    mixed = source(shards)
    batches = [mixed.next() for _ in range(30)]
    assert all(Counter(origins(batch)) == {"domain": 2, "general": 6} for batch in batches)
    assert len({tuple(origins(batch)) for batch in batches}) > 1
    assert batches[0].input_ids_BS.shape == (8, 16)


def test_a_quota_below_a_row_is_carried_over(shards: dict[str, ShardReader]) -> None:
    mixed = source(shards, ratios={"domain": 0.05, "general": 0.95})
    given = [origins(mixed.next()).count("domain") for _ in range(50)]
    assert set(given) == {0, 1}
    assert [sum(given[start : start + 5]) for start in range(0, 50, 5)] == [2] * 10


@given(ratios=st.lists(st.integers(1, 50), min_size=1, max_size=6), rows=st.integers(1, 12))
def test_no_corpus_is_a_row_ahead_of_its_share(
    ratios: list[int], rows: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    reader = write_shards(tmp_path_factory.mktemp("one"), [[1, 2, 3]])
    components = [Component(name=str(n), reader=reader, ratio=ratio) for n, ratio in enumerate(ratios)]
    mixed = MixtureSource(components, sequence_length=4, rows=rows)
    for step in range(1, 40):
        mixed.next()
        for name, passes in mixed.passes().items():
            assert passes - step * rows * ratios[int(name)] / sum(ratios) < 1


def test_without_ratios_corpora_count_by_their_tokens(shards: dict[str, ShardReader]) -> None:
    mixed = source(shards, ratios={"domain": None, "general": None}, rows=10)
    counts: Counter[str] = Counter()
    for _ in range(40):
        counts.update(origins(mixed.next()))
    share = shards["domain"].index.tokens / sum(reader.index.tokens for reader in shards.values())
    assert counts["domain"] / 400 == pytest.approx(share, abs=1 / 400)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_pass_gives_every_token_once_and_the_next_another_order(shards: dict[str, ShardReader], packing: str) -> None:
    mixed = source(shards, ratios={"domain": 1}, rows=1, packing=packing)
    passes: list[list[int]] = [[], []]
    while (number := int(mixed.passes()["domain"])) < 2:
        batch = mixed.next()
        passes[number] += batch.input_ids_BS[batch.documents_BS >= 0].tolist()
    every = sorted(token for ids in shards["domain"] for token in ids.tolist())
    assert sorted(passes[0]) == sorted(passes[1]) == every
    assert passes[0] != passes[1]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("before", [0, 1, 7, 25])
def test_a_restored_source_gives_the_same_batches(shards: dict[str, ShardReader], before: int, packing: str) -> None:
    mixed = source(shards, packing=packing, ratios={"domain": 0.3, "general": 0.7})
    for _ in range(before):
        mixed.next()
    state = json.loads(json.dumps(mixed.state()))
    expected = [mixed.next() for _ in range(20)]
    other = source(shards, packing=packing, ratios={"domain": 0.3, "general": 0.7})
    other.next()
    other.restore(state)
    assert other.state() == state
    assert all(same(batch, other.next()) for batch in expected)


@pytest.mark.parametrize("world_size", [2, 4, 8])
def test_processes_share_the_global_batch(shards: dict[str, ShardReader], world_size: int) -> None:
    alone = source(shards)
    ranks = [source(shards, rank=rank, world_size=world_size) for rank in range(world_size)]
    for _ in range(12):
        batch = alone.next()
        shares = [rank.next() for rank in ranks]
        for rank, share in enumerate(shares):
            assert torch.equal(share.input_ids_BS, batch.input_ids_BS[rank::world_size])
            assert torch.equal(share.documents_BS, batch.documents_BS[rank::world_size])
    assert all(rank.state() == alone.state() for rank in ranks)


def test_a_run_goes_on_with_another_number_of_processes(shards: dict[str, ShardReader]) -> None:
    alone, second = source(shards), source(shards, rank=1, world_size=2)
    for _ in range(5):
        alone.next()
    second.restore(alone.state())
    assert torch.equal(second.next().input_ids_BS, alone.next().input_ids_BS[1::2])


def test_other_seeds_give_other_batches(shards: dict[str, ShardReader]) -> None:
    assert not same(source(shards, seed=1).next(), source(shards, seed=2).next())


def test_a_state_of_another_mixture_is_refused(shards: dict[str, ShardReader], tmp_path: Path) -> None:
    state = source(shards).state()
    with pytest.raises(RecipeError, match="rows was 8, is 16; seed was 3, is 4"):
        source(shards, seed=4, rows=16).restore(state)
    changed = dict(shards) | {"domain": write_shards(tmp_path, [[1, 2, 3]])}
    with pytest.raises(RecipeError, match="components was"):
        source(changed).restore(state)


@pytest.mark.parametrize(
    "changes",
    [
        {"source": None},
        {"step": -1},
        {"step": "1"},
        {"owed": [0]},
        {"row": [0, 10**9]},
        {"pass": [-1, 0]},
        {"pass": None},
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(
    shards: dict[str, ShardReader], changes: dict[str, Any]
) -> None:
    mixed = source(shards)
    mixed.next()
    state = mixed.state()
    with pytest.raises(DamagedRunError, match="another checkpoint"):
        mixed.restore(state | changes)
    assert mixed.state() == state


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"ratios": {"domain": 1, "general": None}}, "ratios="),
        ({"ratios": {"domain": 1, "general": 0}}, "ratios="),
        ({"ratios": {"domain": 1, "general": float("nan")}}, "ratios="),
        ({"ratios": {"domain": 1, "general": 1e9}}, "millionth"),
        ({"ratios": {}}, "at least one"),
        ({"rows": 0}, "rows=0"),
        ({"rows": 9, "world_size": 2}, "rows=9 must be a multiple"),
        ({"rank": 1}, "rank=1"),
        ({"seed": -1}, "seed=-1"),
        ({"packing": "tight"}, "packing='tight'"),
        ({"sequence_length": 1}, "sequence_length=1"),
    ],
)
def test_contradictions_are_refused(shards: dict[str, ShardReader], changes: dict[str, Any], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        source(shards, **changes)


def test_corpora_of_two_tokenizers_are_not_mixed(shards: dict[str, ShardReader], tmp_path: Path) -> None:
    other = write_shards(tmp_path, [[1]], vocab_size=2000)
    with pytest.raises(CorpusError, match="tokenized differently"):
        source(dict(shards) | {"domain": other})
