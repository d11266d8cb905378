"""Adapters come back whole, belong to their weights, and are there entirely or not at all."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from moesaic.errors import DamagedRunError, RecipeError, StorageError
from moesaic.model.causal_lm import GPTMoEForCausalLM
from moesaic.training.tuning.adapter_file import load_adapter, save_adapter
from moesaic.training.tuning.low_rank import LowRankOptions, add_low_rank, low_rank_updates, merge_low_rank
from moesaic.training.tuning.parameter_kinds import ParameterKind
from tests.training.tuning.stirred import logits, stir

ModelMaker = Callable[[], GPTMoEForCausalLM]
OPTIONS = LowRankOptions(rank=4, alpha=8)
V_PROJ = "model.layers.2.self_attn.v_proj.weight"


def test_an_adapter_comes_back(make_model: ModelMaker, tokens: torch.Tensor, tmp_path: Path) -> None:
    model = make_model()
    options = LowRankOptions(rank=3, alpha=5, targets=(ParameterKind.EXPERTS, ParameterKind.ATTENTION), seed=9)
    trained = add_low_rank(model, options)
    stir(model)
    save_adapter(model, options, tmp_path / "adapter.safetensors")
    again = make_model()
    assert load_adapter(again, tmp_path / "adapter.safetensors") == trained
    assert torch.equal(logits(again, tokens), logits(model, tokens))
    merge_low_rank(again)
    assert torch.equal(logits(again, tokens), logits(model, tokens))
    assert [path.name for path in tmp_path.iterdir()] == ["adapter.safetensors"]


def test_an_interrupted_save_leaves_the_old_adapter(
    model: GPTMoEForCausalLM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_low_rank(model, OPTIONS)
    path = tmp_path / "adapter.safetensors"
    save_adapter(model, OPTIONS, path)
    before = path.read_bytes()
    stir(model)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left"):
        save_adapter(model, OPTIONS, path)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_an_adapter_knows_its_weights(make_model: ModelMaker, tmp_path: Path) -> None:
    model, path = make_model(), tmp_path / "adapter.safetensors"
    with pytest.raises(RecipeError, match="no low-rank updates to save"):
        save_adapter(model, OPTIONS, path)
    add_low_rank(model, OPTIONS)
    save_adapter(model, OPTIONS, path)
    with pytest.raises(RecipeError, match="has low-rank updates already"):
        load_adapter(model, path)
    other = make_model()
    other.get_parameter(V_PROJ).data[0, 0] += 1e-3
    with pytest.raises(RecipeError, match="belongs to other weights"):
        load_adapter(other, path)
    assert next(low_rank_updates(other), None) is None
    changed = {
        name for name, value in make_model().state_dict().items() if not torch.equal(value, other.state_dict()[name])
    }
    assert changed == {V_PROJ}
    widened = make_model()
    widened.config.num_experts_per_layer = [0, 4, 0, 4]
    for name in ("gate_up_proj", "down_proj"):
        experts = widened.mixtures[1].experts
        setattr(experts, name, nn.Parameter(getattr(experts, name).data[:4].clone()))
    with pytest.raises(RecipeError, match="a model of another shape"):
        load_adapter(widened, path)


@pytest.mark.parametrize("damage", ["missing", "cut", "foreign"])
def test_a_damaged_adapter_is_refused(model: GPTMoEForCausalLM, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "adapter.safetensors"
    if damage == "cut":
        add_low_rank(model, OPTIONS)
        save_adapter(model, OPTIONS, path)
        merge_low_rank(model)
        path.write_bytes(path.read_bytes()[:-9])
    elif damage == "foreign":
        model.save_pretrained(tmp_path)
        (tmp_path / "model.safetensors").rename(path)
    with pytest.raises(DamagedRunError, match="is no adapter, or damaged"):
        load_adapter(model, path)
    assert next(low_rank_updates(model), None) is None
