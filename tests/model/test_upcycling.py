"""Upcycling on random tiny models of every dense family: function-preserving, or different exactly where asked."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from moesaic.artifact import ModelArtifact
from moesaic.errors import ConfigError, InputError, UnsupportedModelError
from moesaic.model.checkpoint import expert_matrix
from moesaic.model.conversion import pack, upcycle
from moesaic.model.shards import ShardReader
from moesaic.model.upcycling import UpcycleOptions, upcycled_config

pytestmark = pytest.mark.usefixtures("single_thread")


def upcycled(dense, target, **options):
    artifact = upcycle(
        str(dense), target, UpcycleOptions(experts=2, experts_last=3, last=1, **options), dtype="float32"
    )
    return artifact, AutoModelForCausalLM.from_pretrained(target)


def test_the_mixture_computes_what_the_dense_model_does(dense_folder, tmp_path, tokens):
    _, model = upcycled(dense_folder, tmp_path / "moe", coefficient_bias=0.3, router_std=1.0)
    dense = AutoModelForCausalLM.from_pretrained(dense_folder)
    assert model.config.num_experts_per_layer == [0, 2, 0, 3]
    assert (model(input_ids=tokens).logits - dense(input_ids=tokens).logits).abs().max() < 1e-4


def test_a_packed_model_has_the_dense_weights(dense_folder, tmp_path, tokens):
    artifact = pack(str(dense_folder), tmp_path / "dense", dtype="float32")
    dense = AutoModelForCausalLM.from_pretrained(dense_folder)
    packed = AutoModelForCausalLM.from_pretrained(artifact.folder)
    assert type(packed) is type(dense)
    assert torch.equal(packed(input_ids=tokens).logits, dense(input_ids=tokens).logits)
    assert artifact.manifest.architecture.parameters_total == sum(p.numel() for p in dense.parameters())
    assert artifact.manifest.architecture.parameters_active == artifact.manifest.architecture.parameters_total


def test_dropping_touches_the_asked_share_of_channels_in_all_three_matrices(llama_folder, tmp_path):
    upcycled(llama_folder, tmp_path / "moe", drop_ratio=0.25)
    with ShardReader(llama_folder) as dense, ShardReader(tmp_path / "moe") as moe:
        changed = []
        for matrix in ("gate_proj", "up_proj", "down_proj"):
            base = dense.read(f"model.layers.1.mlp.{matrix}.weight").float()
            copy = moe.read(expert_matrix(1, 0, matrix))
            residual = moe.read(expert_matrix(1, 2, matrix))
            assert torch.equal(residual, base)
            differs = (copy != base).any(dim=1 if matrix != "down_proj" else 0)
            changed.append(differs.nonzero().flatten().tolist())
        width = dense.spec("model.layers.1.mlp.up_proj.weight").shape[0]
    assert len(changed[0]) == width // 4
    assert changed[0] == changed[1] == changed[2]


def test_dropped_channels_keep_mean_and_spread(llama_folder, tmp_path):
    upcycled(llama_folder, tmp_path / "moe", drop_ratio=1.0)
    with ShardReader(llama_folder) as dense, ShardReader(tmp_path / "moe") as moe:
        base = dense.read("model.layers.1.mlp.up_proj.weight").float()
        fresh = moe.read(expert_matrix(1, 1, "up_proj"))
    assert fresh.std() == pytest.approx(float(base.std()), rel=0.05)
    assert abs(float(fresh.mean() - base.mean())) < 0.05 * float(base.std())


def test_experts_differ_from_each_other_and_runs_repeat(llama_folder, tmp_path):
    for name in ("one", "two"):
        upcycled(llama_folder, tmp_path / name, noise=0.5, seed=11)
    upcycled(llama_folder, tmp_path / "other", noise=0.5, seed=12)
    name = expert_matrix(3, 0, "down_proj")
    with (
        ShardReader(tmp_path / "one") as one,
        ShardReader(tmp_path / "two") as two,
        ShardReader(tmp_path / "other") as other,
    ):
        assert torch.equal(one.read(name), two.read(name))
        assert not torch.equal(one.read(name), other.read(name))
        assert not torch.equal(one.read(name), one.read(expert_matrix(3, 1, "down_proj")))


def test_the_artifact_tells_where_it_comes_from(llama_folder, tmp_path):
    artifact, model = upcycled(llama_folder, tmp_path / "moe")
    manifest = ModelArtifact.open(tmp_path / "moe").manifest
    assert manifest.lineage.operation == "upcycle"
    assert manifest.lineage.options["experts"] == 2
    facts = manifest.architecture
    assert facts.experts_per_layer == (0, 2, 0, 3)
    tied = model.config.tie_word_embeddings
    assert facts.parameters_total == sum(
        t.numel() for n, t in model.state_dict().items() if not (tied and n == "lm_head.weight")
    )
    assert manifest.canary is not None
    artifact.verify()


@pytest.mark.parametrize(
    "wrong",
    [{"drop_ratio": 1.1}, {"drop_ratio": float("nan")}, {"noise": -1.0}, {"coefficient_bias": 50.0}, {"seed": -1}],
)
def test_options_outside_their_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        UpcycleOptions(**wrong)


def test_a_mixture_is_not_upcycled_again():
    with pytest.raises(UnsupportedModelError, match="mixtral"):
        upcycled_config({"model_type": "mixtral"}, UpcycleOptions())


def test_contradictory_counts_leave_no_folder(llama_folder, tmp_path):
    with pytest.raises(ConfigError):
        upcycle(str(llama_folder), tmp_path / "moe", UpcycleOptions(experts=0))
    assert list(tmp_path.glob("**/moesaic.json")) == []
    assert not (tmp_path / "moe").exists()


def test_an_interrupted_conversion_leaves_nothing(llama_folder, tmp_path):
    def interrupt(stage, done, total):
        if done > 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upcycle(str(llama_folder), tmp_path / "moe", UpcycleOptions(experts=2), progress=interrupt)
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "moe").exists()
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_a_foreign_tokenizer_is_refused(llama_folder, tmp_path):
    config = json.loads((llama_folder / "config.json").read_text())
    assert config["vocab_size"] == 320
    tokenizer = json.loads((llama_folder / "tokenizer.json").read_text())
    for rank in range(400):
        tokenizer["model"]["vocab"][f"foreign{rank}"] = len(tokenizer["model"]["vocab"])
    (llama_folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="tokenizer"):
        upcycle(str(llama_folder), tmp_path / "moe", UpcycleOptions(experts=2))
