"""A model with more tokens: its rows, its artifact, and that old text is computed as before."""

import json

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from moesaic.artifact import ModelArtifact
from moesaic.errors import CorpusError, InputError, SchemeError
from moesaic.model.conversion import pack, quantize, upcycle
from moesaic.model.quantized import Scheme
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.model.upcycling import UpcycleOptions
from moesaic.training.tokenizer.extension_config import ExtensionConfig
from moesaic.training.tokenizer.model_extension import extend_model, grown_rows
from moesaic.training.tokenizer.vocabulary_extension import NewToken
from tests.training.tokenizer.corpus import TEXTS, tiny_byte_level

CONFIG = ExtensionConfig(tokens=90, row_multiple=64)
ROWS = 352


@pytest.fixture(params=[True, False], ids=["tied", "untied"])
def dense(request, tmp_path):
    """A random Llama with eleven rows to spare."""
    torch.manual_seed(3)
    config = AutoConfig.for_model(
        "llama",
        architectures=["LlamaForCausalLM"],
        vocab_size=ROWS,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=340,
        tie_word_embeddings=request.param,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "dense")
    tiny_byte_level().save_pretrained(tmp_path / "dense", save_jinja_files=False)
    return tmp_path / "dense"


def test_rows_are_means_of_the_parts_and_padding_the_mean_of_all():
    rows_VD = torch.randn(6, 3, dtype=torch.bfloat16)
    new = [NewToken(5, "ab", (0, 1)), NewToken(6, "abc", (0, 1, 2))]
    grown_VD = grown_rows(rows_VD, new, 9)
    assert grown_VD.shape == (9, 3)
    assert grown_VD.dtype == torch.bfloat16
    assert torch.equal(grown_VD[:5], rows_VD[:5])
    torch.testing.assert_close(grown_VD[5].float(), rows_VD[:2].float().mean(0), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(grown_VD[6].float(), rows_VD[:3].float().mean(0), rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(grown_VD[8].float(), rows_VD.float().mean(0), rtol=1e-2, atol=1e-2)


def logits(folder, ids):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0], model


def test_old_text_is_computed_as_before_and_new_tokens_as_the_mean_of_their_parts(dense, tmp_path):
    extended = extend_model(str(dense), tmp_path / "more", TEXTS, CONFIG)
    assert (extended.rows_before, extended.rows_after) == (ROWS, 448)
    old, tokenizer = load_tokenizer(dense), load_tokenizer(tmp_path / "more")
    ids = old.encode("the reader opens a file")
    assert tokenizer.encode("the reader opens a file") == ids
    before_SV, _ = logits(dense, ids)
    after_SV, model = logits(tmp_path / "more", ids)
    torch.testing.assert_close(after_SV[:, :341], before_SV[:, :341], rtol=5e-2, atol=5e-2)
    (new,) = tokenizer.encode("文件", add_special_tokens=False)
    parts = old.encode("文件", add_special_tokens=False)
    torch.testing.assert_close(after_SV[:, new], after_SV[:, parts].mean(dim=1), rtol=2e-2, atol=2e-2)
    rows_VD = model.get_input_embeddings().weight
    torch.testing.assert_close(rows_VD[new], rows_VD[parts].mean(dim=0), rtol=1e-2, atol=1e-2)


def test_the_artifact_is_whole_and_says_where_it_comes_from(dense, tmp_path):
    parent = pack(str(dense), tmp_path / "packed")
    extended = extend_model(str(tmp_path / "packed"), tmp_path / "more", TEXTS, CONFIG)
    artifact = ModelArtifact.open(tmp_path / "more")
    artifact.verify()
    assert artifact.digest == extended.artifact.digest
    lineage = artifact.manifest.lineage
    assert (lineage.operation, lineage.parent) == ("extend-vocabulary", parent.digest)
    assert [step.operation for step in lineage.ancestors] == ["pack"]
    facts, former = artifact.manifest.architecture, parent.manifest.architecture
    tables = 1 if artifact.config()["tie_word_embeddings"] else 2
    assert facts.vocab_size == 448
    assert facts.parameters_total == former.parameters_total + 96 * 64 * tables
    ends = json.loads((tmp_path / "more" / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [340]


def test_a_mixture_of_experts_is_extended_too(dense, tmp_path):
    upcycle(str(dense), tmp_path / "moe", UpcycleOptions(experts=2))
    extend_model(str(tmp_path / "moe"), tmp_path / "more", TEXTS, CONFIG)
    ids = load_tokenizer(tmp_path / "more").encode("the reader writes 文件系统")
    after_SV, model = logits(tmp_path / "more", ids)
    assert after_SV.shape == (len(ids), 448)
    assert len(model.mixtures) == 1


def test_rows_to_spare_are_used_first(dense, tmp_path):
    config = ExtensionConfig(tokens=10, row_multiple=32)
    extended = extend_model(str(dense), tmp_path / "more", TEXTS, config)
    assert extended.rows_after == ROWS
    assert extended.report.tokens_after == 351


def test_what_cannot_be_extended_is_refused_and_leaves_nothing(dense, tmp_path):
    pack(str(dense), tmp_path / "packed")
    quantize(tmp_path / "packed", tmp_path / "int8", Scheme.INT8)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(SchemeError, match="extend its full-precision parent"):
        extend_model(str(tmp_path / "int8"), tmp_path / "more", TEXTS, CONFIG)
    with pytest.raises(CorpusError):
        extend_model(str(tmp_path / "packed"), tmp_path / "more", ["nothing"], CONFIG)
    with pytest.raises(InputError):
        extend_model(str(tmp_path / "absent"), tmp_path / "more", TEXTS, CONFIG)
    with pytest.raises(InputError, match="exists already"):
        extend_model(str(tmp_path / "packed"), tmp_path / "int8", TEXTS, CONFIG)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
