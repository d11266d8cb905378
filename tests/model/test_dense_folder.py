"""Model folders as transformers saves them, whole and damaged."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from moesaic.artifact import ArchitectureFacts, ArtifactWriter, Licence, Lineage
from moesaic.errors import DamagedArtifactError, InputError, TokenizerError, UnsupportedModelError
from moesaic.model.dense_folder import DenseFolder, is_model_folder
from moesaic.model.shards import ShardReader, ShardWriter
from tests.model.tiny_dense import FAMILY_FIELDS, logits_of, tiny_model, weights_of

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {}),
    ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    ("mistral", {}),
    ("qwen2", {"tie_word_embeddings": True}),
    ("qwen3", {"attention_bias": True}),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tied Llama without a tokenizer."""
    tiny_model("llama", tie_word_embeddings=True).save_pretrained(tmp_path / "base")
    return tmp_path / "base"


def opened(folder: Path) -> DenseFolder:
    return DenseFolder(folder, "the base")


def rewrite(folder: Path, change: dict[str, torch.Tensor | None], **settings: Any) -> None:
    """Replace, add or (None) remove tensors and settings of a folder."""
    reader = ShardReader(folder)
    tensors: dict[str, torch.Tensor | None] = {name: reader.read(name) for name in reader.names}
    tensors |= change
    (folder / "model.safetensors").unlink()
    with ShardWriter(folder) as writer:
        for name, tensor in tensors.items():
            if tensor is not None:
                writer.write(name, tensor)
    config = json.loads((folder / "config.json").read_text()) | settings
    (folder / "config.json").write_text(json.dumps(config))


class TestSoundFolders:
    @pytest.mark.parametrize(("family", "changes"), VARIANTS)
    @pytest.mark.parametrize("shards", ["one", "several"])
    def test_every_tensor_is_read_as_saved(
        self, family: str, changes: dict[str, Any], shards: str, tmp_path: Path
    ) -> None:
        model = tiny_model(family, **changes)
        model.save_pretrained(tmp_path, max_shard_size="50KB" if shards == "several" else "1GB")
        assert (tmp_path / "model.safetensors").is_file() == (shards == "one")
        expected = weights_of(model)
        with opened(tmp_path) as base:
            assert base.config["model_type"] == family
            assert base.config["dtype"] == "float32"
            assert sorted(base.names) == sorted(expected)
            for name in base.names:
                assert base.spec(name) == (torch.float32, tuple(expected[name].shape))
                assert torch.equal(base.read(name), expected[name]), name

    def test_bfloat16_stays_bfloat16(self, tmp_path: Path) -> None:
        model = tiny_model("qwen2").to(torch.bfloat16)
        model.save_pretrained(tmp_path)
        with opened(tmp_path) as base:
            assert base.config["dtype"] == "bfloat16"
            assert torch.equal(base.read("model.norm.weight"), model.model.norm.weight)

    def test_config_makes_the_same_model(self, tmp_path: Path) -> None:
        model = tiny_model("qwen3", rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 5e4})
        model.save_pretrained(tmp_path / "base")
        with opened(tmp_path / "base") as base, ShardWriter(tmp_path) as writer:
            for name in base.names:
                writer.write(name, base.read(name))
            (tmp_path / "config.json").write_text(json.dumps(base.config))
        sequences = torch.arange(20).reshape(2, 10)
        again = AutoModelForCausalLM.from_pretrained(tmp_path).eval()
        assert torch.equal(logits_of(again, sequences), logits_of(model, sequences))

    def test_stored_copy_of_a_tied_head_is_left_out(self, folder: Path) -> None:
        rewrite(folder, {"lm_head.weight": ShardReader(folder).read("model.embed_tokens.weight")})
        with opened(folder) as base:
            assert base.config["tie_word_embeddings"] is True
            assert "lm_head.weight" not in base.names
            with pytest.raises(InputError, match=r"no tensor 'lm_head\.weight'"):
                base.read("lm_head.weight")

    def test_stored_rotary_frequencies_are_left_out(self, folder: Path) -> None:
        rewrite(folder, {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(8)})
        with opened(folder) as base:
            assert not any("inv_freq" in name for name in base.names)


class TestLicence:
    def test_of_a_stock_folder(self, folder: Path) -> None:
        (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
        (folder / "LICENSE").write_text("Apache License")
        with opened(folder) as base:
            assert base.licence == ("Apache-2.0", "Apache License")

    def test_of_an_artifact(self, folder: Path, tmp_path: Path) -> None:
        with ArtifactWriter(tmp_path / "artifact") as writer:
            for path in (*folder.iterdir(), folder):
                if path.is_file():
                    (writer.folder / path.name).write_bytes(path.read_bytes())
            (writer.folder / "LICENSE-base.txt").write_text("Text")
            writer.commit(
                name="tiny",
                architecture=facts(),
                lineage=Lineage(
                    operation="pack",
                    base="the base",
                    parent=None,
                    options={},
                    created="2026-11-21T00:00:00Z",
                    moesaic_version="0.1.0",
                ),
                licence=Licence(name="mit", file="LICENSE-base.txt"),
            )
        with opened(tmp_path / "artifact") as base:
            assert base.licence == ("MIT", "Text")
        (tmp_path / "artifact" / "config.json").write_text("{}")
        with pytest.raises(DamagedArtifactError, match=r"config\.json"):
            opened(tmp_path / "artifact")


def facts() -> ArchitectureFacts:
    return ArchitectureFacts(
        model_type="llama",
        architecture="LlamaForCausalLM",
        parameters_total=1,
        parameters_active=1,
        num_hidden_layers=2,
        hidden_size=64,
        vocab_size=320,
        context_length=128,
        experts_per_layer=(0, 0),
        dtype="float32",
    )


class TestDamagedFolders:
    def test_no_model_at_all(self, tmp_path: Path) -> None:
        assert not is_model_folder(tmp_path)
        with pytest.raises(InputError, match=r"the base has no config\.json"):
            opened(tmp_path)

    @pytest.mark.parametrize(("extra", "message"), [(None, "give a complete"), ("pytorch_model.bin", "would run code")])
    def test_no_safetensors(self, extra: str | None, message: str, folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        if extra:
            (folder / extra).touch()
        with pytest.raises(InputError, match=message):
            opened(folder)

    @pytest.mark.parametrize("content", ["{", "[]", "\xff"])
    def test_unreadable_config(self, content: str, folder: Path) -> None:
        (folder / "config.json").write_bytes(content.encode("latin-1"))
        with pytest.raises(DamagedArtifactError, match=r"the base: config\.json"):
            opened(folder)

    def test_truncated_weights(self, folder: Path) -> None:
        weights = folder / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(DamagedArtifactError, match=r"model\.safetensors"):
            opened(folder)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model.layers.1.mlp.up_proj.weight": None}, r"lacks 1 of 20 tensors, first 'model\.layers\.1\.mlp\.up"),
            ({"model.layers.0.self_attn.q_proj.bias": torch.zeros(64)}, "has 1 tensors that its architecture"),
            ({"model.norm.weight": torch.zeros(65)}, r"model\.norm\.weight is torch\.float32 \(65,\), must be \(64,\)"),
            ({"model.norm.weight": torch.zeros(64, dtype=torch.int8)}, r"is torch\.int8 .* plain float weights"),
            ({"lm_head.weight": torch.zeros(320, 64)}, r"tie_word_embeddings=true, yet lm_head\.weight differs"),
        ],
    )
    def test_tensors_that_do_not_belong_to_the_config(
        self, change: dict[str, torch.Tensor | None], message: str, folder: Path
    ) -> None:
        rewrite(folder, change)
        with pytest.raises(UnsupportedModelError, match=message):
            opened(folder)

    def test_untied_head_must_be_there(self, folder: Path) -> None:
        rewrite(folder, {}, tie_word_embeddings=False)
        with pytest.raises(UnsupportedModelError, match=r"first 'lm_head\.weight'"):
            opened(folder)

    def test_quantized_weights_are_refused(self, folder: Path) -> None:
        rewrite(folder, {}, quantization_config={"quant_method": "compressed-tensors"})
        with pytest.raises(UnsupportedModelError, match="give the model that it was quantized from"):
            opened(folder)


class TestTokenizer:
    def test_is_written_for_an_artifact(self, dense_folder: Path, tmp_path: Path) -> None:
        target = tmp_path / "written"
        target.mkdir()
        with opened(dense_folder) as base:
            base.write_tokenizer(target)
            (target / "config.json").write_text(json.dumps(base.config | {"model_type": "gpt_moe"}))
        loaded, original = (AutoTokenizer.from_pretrained(place) for place in (target, dense_folder))
        for text in ("Hello, world! 12  34", "你好，世界。\n今天<|end|>"):
            ids = loaded(text)["input_ids"]
            assert ids == original(text)["input_ids"]
            assert loaded.decode(ids) == text
        assert json.loads((target / "generation_config.json").read_text())["eos_token_id"] == [256]

    def test_that_outnumbers_the_embedding_is_refused_at_once(self, dense_folder: Path) -> None:
        content = json.loads((dense_folder / "tokenizer.json").read_text())
        content["added_tokens"].append(content["added_tokens"][0] | {"id": 320, "content": "<|more|>"})
        (dense_folder / "tokenizer.json").write_text(json.dumps(content))
        with pytest.raises(TokenizerError, match="ids up to 320, its embedding rows 0 to 319"):
            opened(dense_folder)

    def test_that_is_missing_shows_when_it_is_written(self, folder: Path, tmp_path: Path) -> None:
        with opened(folder) as base, pytest.raises(TokenizerError, match="has no tokenizer"):
            base.write_tokenizer(tmp_path)


def test_every_family_is_tested() -> None:
    assert {family for family, _ in VARIANTS} == FAMILY_FIELDS.keys()
