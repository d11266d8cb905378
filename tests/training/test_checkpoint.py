"""Checkpoints appear whole, come back exactly, and are passed over or refused when they are damaged."""

from pathlib import Path

import pytest
import torch

from moesaic.errors import DamagedRunError
from moesaic.training.checkpoint import Checkpoint, CheckpointStore
from moesaic.training.processes import Processes

GROUPS = {
    "weights": {"a.weight": torch.arange(12.0).reshape(3, 4), "bias": torch.tensor([1.5, -2.0, 0.1])},
    "optimizer": {"a.weight::step": torch.tensor(3.0), "a.weight::exp_avg": torch.full((3, 4), 0.25)},
    "objective": {},
}


def store_in(folder: Path, keep: int = 2) -> CheckpointStore:
    return CheckpointStore(folder, Processes(), keep=keep)


def save(store: CheckpointStore, step: int, rollbacks: int = 0) -> Path:
    return store.save(step, rollbacks, GROUPS, state={"source": {"row": step}}, local={"random": [step]})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_everything_comes_back(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.is_empty
    assert store.latest(pytest.fail) is None
    save(store, 4)
    found = store.latest(pytest.fail)
    assert found is not None
    assert (found.step, found.state, found.local(0), found.local(1)) == (
        4,
        {"source": {"row": 4}},
        {"random": [4]},
        None,
    )
    for group, tensors in GROUPS.items():
        assert found.names(group) == sorted(tensors)
        for name, tensor in tensors.items():
            assert torch.equal(found.tensor(group, name), tensor)
    assert torch.equal(found.part("weights", "a.weight", 1, 2), GROUPS["weights"]["a.weight"][1:3])
    with pytest.raises(DamagedRunError, match="has no weights 'c'"):
        found.tensor("weights", "c")


def test_a_view_costs_no_more_than_itself(tmp_path: Path) -> None:
    whole = torch.zeros(1_000_000)
    store = store_in(tmp_path)
    path = store.save(1, 0, {"weights": {"view": whole[:10]}}, state={}, local={})
    assert sum(item.stat().st_size for item in path.rglob("*.safetensors")) < 2_000_000
    largest = sum(item.stat().st_blocks * 512 for item in path.rglob("*.safetensors"))
    assert largest < 1_200_000


def test_the_last_ones_are_kept_and_the_latest_of_a_rollback_counts(tmp_path: Path) -> None:
    store = store_in(tmp_path, keep=2)
    for step in (0, 2, 4):
        save(store, step)
    assert names(tmp_path) == ["step-00000002.0", "step-00000004.0"]
    save(store, 2, rollbacks=1)
    assert names(tmp_path) == ["step-00000002.1", "step-00000004.0"]
    latest = store.latest(pytest.fail)
    assert latest is not None
    assert latest.folder.name == "step-00000002.1"


def test_a_step_that_is_saved_again_replaces_itself(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    save(store, 2)
    store.save(2, 0, GROUPS, state={"again": True}, local={})
    assert names(tmp_path) == ["step-00000002.0"]
    latest = store.latest(pytest.fail)
    assert latest is not None
    assert latest.state == {"again": True}


def test_what_a_killed_process_left_is_no_checkpoint(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    save(store, 2)
    (tmp_path / ".step-00000004.0.partial" / "process-0").mkdir(parents=True)
    (tmp_path / ".step-00000000.0.old").mkdir()
    latest = store.latest(pytest.fail)
    assert latest is not None
    assert latest.step == 2
    save(store, 4)
    assert "step-00000004.0" in names(tmp_path)
    assert ".step-00000004.0.partial" not in names(tmp_path)


@pytest.mark.parametrize("name", ["process-0/weights/model.safetensors", "process-0/local.json", "checkpoint.json"])
@pytest.mark.parametrize("damage", ["truncated", "altered", "missing"])
def test_a_damaged_one_is_passed_over_with_a_warning_and_refused_when_it_is_the_last(
    tmp_path: Path, name: str, damage: str
) -> None:
    store = store_in(tmp_path)
    older, newer = save(store, 2), save(store, 4)
    _damage(newer / name, damage)
    with pytest.raises(DamagedRunError):
        Checkpoint(newer)
    warnings: list[str] = []
    latest = store.latest(warnings.append)
    assert latest is not None
    assert latest.step == 2
    assert len(warnings) == 1
    assert "step-00000004.0 is damaged and passed over" in warnings[0]
    _damage(older / name, damage)
    with pytest.raises(DamagedRunError, match="none of the checkpoints"):
        store.latest(warnings.append)


def _damage(path: Path, damage: str) -> None:
    content = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
