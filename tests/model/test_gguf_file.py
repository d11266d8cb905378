"""Reading GGUF files: tiny ones against what they were made of, and against transformers' own reading of them."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
import transformers.modeling_utils
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from moesaic.errors import DamagedArtifactError, InputError, TokenizerError, UnsupportedModelError
from moesaic.model.base import open_base
from moesaic.model.gguf_file import GGUFBase, restore_rotary_rows
from tests.model.tiny_dense import ROWS, TOKENS, logits_of, rebuilt, tiny_model, weights_of, write_gguf


@pytest.fixture
def with_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers asks for accelerate before it loads a GGUF file, and then doesn't use it on a CPU."""
    monkeypatch.setattr(transformers.modeling_utils, "is_accelerate_available", lambda: True)


class TestTinyFiles:
    @pytest.mark.parametrize(
        ("family", "changes"),
        [
            ("llama", {}),
            ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
            ("mistral", {}),
            ("qwen2", {"tie_word_embeddings": True}),
            ("qwen3", {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}),
        ],
    )
    def test_gives_back_the_model_that_was_converted(
        self, family: str, changes: dict[str, Any], tmp_path: Path
    ) -> None:
        model = tiny_model(family, **changes)
        path = write_gguf(tmp_path / "model.gguf", model)
        sequences = torch.arange(24).reshape(2, 12) * 13 % ROWS
        with open_base(str(path)) as base:
            expected = weights_of(model)
            assert sorted(base.names) == sorted(expected)
            for name, tensor in expected.items():
                assert base.spec(name) == (torch.float32, tuple(tensor.shape))
                assert torch.equal(base.read(name), tensor), name
            assert torch.equal(logits_of(rebuilt(base), sequences), logits_of(model, sequences))

    @pytest.mark.usefixtures("with_accelerate")
    @pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
    def test_transformers_reads_the_same_file_likewise(self, family: str, tmp_path: Path) -> None:
        # This ties the writer of these tests, above all its order of rows, to another reader.
        # (For Qwen3 it ignores the head size that the file states, and takes 128.)
        model = tiny_model(family, **({"head_dim": 128} if family == "qwen3" else {}))
        write_gguf(tmp_path / "model.gguf", model, metadata={f"{family}.vocab_size": ROWS})
        sequences = torch.arange(24).reshape(2, 12) * 13 % ROWS
        theirs = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="model.gguf", dtype=torch.float32).eval()
        assert torch.allclose(logits_of(theirs, sequences), logits_of(model, sequences), atol=1e-4)

    @pytest.mark.parametrize("kind", ["F16", "BF16", "Q8_0", "Q4_1"])
    def test_number_formats_are_dequantized(self, kind: str, tmp_path: Path) -> None:
        model = tiny_model("llama")
        quantized = gguf.GGMLQuantizationType[kind]
        path = write_gguf(tmp_path / "model.gguf", model, matrices=quantized)
        name = "model.layers.1.mlp.down_proj.weight"
        weight = weights_of(model)[name].numpy()
        with open_base(str(path)) as base:
            expected = gguf.dequantize(gguf.quantize(weight, quantized), quantized)
            assert np.array_equal(base.read(name).numpy(), expected)
            assert base.spec(name).dtype == base.read("model.norm.weight").dtype == torch.float32

    def test_unknown_number_format_shows_when_the_file_is_opened(self, tmp_path: Path) -> None:
        integers = np.zeros((ROWS, 64), dtype=np.int8)
        path = tmp_path / "model.gguf"
        write_gguf(path, tiny_model("llama"), drop="token_embd.weight", extra={"token_embd.weight": integers})
        with pytest.raises(UnsupportedModelError, match=r"stores token_embd\.weight as I8"):
            open_base(str(path))

    def test_what_was_read_outlives_the_file(self, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "model.gguf", tiny_model("qwen2"))
        with open_base(str(path)) as base:
            read = {name: base.read(name) for name in base.names}
            copies = {name: tensor.clone() for name, tensor in read.items()}
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
        assert all(torch.equal(read[name], copies[name]) for name in read)
        with pytest.raises(InputError, match="closed"):
            base.read("model.norm.weight")

    def test_unknown_tensor_is_refused(self, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "model.gguf", tiny_model("llama", tie_word_embeddings=True))
        with open_base(str(path)) as base, pytest.raises(InputError, match=r"lm_head\.weight"):
            base.spec("lm_head.weight")

    def test_licence_text_comes_from_the_file_beside(self, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "model.gguf", tiny_model("llama"), metadata={"general.license": "mit"})
        (tmp_path / "LICENSE").write_text("Do as you like.\n")
        with open_base(str(path)) as base:
            assert base.licence == ("MIT", "Do as you like.\n")

    def test_tokenizer_loads_beside_the_config(self, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "model.gguf", tiny_model("qwen2"))
        target = tmp_path / "written"
        target.mkdir()
        with open_base(str(path)) as base:
            base.write_tokenizer(target)
            assert isinstance(base, GGUFBase)
            expected = base.tokenizer()
        loaded = AutoTokenizer.from_pretrained(target)
        text = "<|im_start|>the 你<think>12<|im_end|>"
        assert loaded(text)["input_ids"] == expected(text)["input_ids"]
        assert loaded.decode(loaded(text)["input_ids"]) == text


class TestRefusals:
    @pytest.mark.parametrize(
        ("metadata", "message"),
        [
            ({"general.architecture": "gemma3"}, "'gemma3': supported in GGUF files are llama, qwen2, qwen3"),
            ({"llama.expert_count": 8}, "is a mixture"),
            ({"llama.block_count": None}, "lacks llama.block_count"),
            ({"llama.attention.sliding_window": 64}, "sliding window"),
            ({"llama.attention.value_length": 8}, "value_length=8 for heads of 16"),
            ({"llama.rope.dimension_count": 8}, "dimension_count=8 for heads of 16"),
            ({"llama.attention.head_count_kv": [2, 1]}, "varies num_key_value_heads from layer to layer"),
            ({"llama.feed_forward_length": 80}, r"blk\.0\.ffn_gate\.weight has shape \(96, 64\)"),
            ({"llama.block_count": 3}, r"lacks 9 of 30 tensors, first 'blk\.2"),
            ({"llama.block_count": 1}, r"has 9 tensors that its architecture doesn't know, first 'blk\.1"),
            ({"split.count": 3}, "one of 3 parts"),
        ],
    )
    def test_model_that_does_not_map(self, metadata: dict[str, Any], message: str, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "model.gguf", tiny_model("llama"), metadata=metadata)
        with pytest.raises(UnsupportedModelError, match=message):
            open_base(str(path))

    @pytest.mark.parametrize("name", ["token_embd.weight", "blk.1.attn_k.weight", "output_norm.weight"])
    def test_missing_tensor(self, name: str, tmp_path: Path) -> None:
        path = write_gguf(tmp_path / "model.gguf", tiny_model("llama"), drop=name)
        with pytest.raises(UnsupportedModelError, match=name):
            open_base(str(path))

    def test_more_tokens_than_rows(self, tmp_path: Path) -> None:
        tokens = [*TOKENS, *(f"extra{number}" for number in range(60))]
        kinds = [1] * len(tokens)
        metadata = {"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds}
        path = write_gguf(tmp_path / "model.gguf", tiny_model("llama"), metadata=metadata)
        with pytest.raises(TokenizerError, match="embedding rows 0 to 319"):
            open_base(str(path))

    @pytest.mark.parametrize("kept", [0.0, 0.0001, 0.02, 0.5, 0.999])
    def test_truncated_file(self, kept: float, tmp_path: Path) -> None:
        whole = write_gguf(tmp_path / "whole.gguf", tiny_model("llama")).read_bytes()
        path = tmp_path / "part.gguf"
        path.write_bytes(whole[: int(kept * len(whole))])
        with pytest.raises(DamagedArtifactError, match=r"part\.gguf can't be read as a GGUF file"):
            open_base(str(path))

    def test_something_else_under_the_name(self, tmp_path: Path) -> None:
        path = tmp_path / "model.gguf"
        path.write_text("version https://git-lfs.github.com/spec/v1\n")
        with pytest.raises(DamagedArtifactError, match="GGUF magic invalid"):
            open_base(str(path))


@given(heads=st.integers(1, 4), pairs=st.integers(1, 6), columns=st.integers(0, 3))
def test_restoring_brings_rotated_rows_half_a_head_apart(heads: int, pairs: int, columns: int) -> None:
    width = 2 * pairs
    shape = (heads * width, columns) if columns else (heads * width,)
    wanted = np.arange(heads * width * max(columns, 1)).reshape(shape)
    stored = np.empty_like(wanted)
    for head in range(heads):
        for pair in range(pairs):
            stored[head * width + 2 * pair] = wanted[head * width + pair]
            stored[head * width + 2 * pair + 1] = wanted[head * width + pair + pairs]
    assert np.array_equal(restore_rotary_rows(stored, heads), wanted)
