"""The canary agrees with an independent forward pass, and notices a fault."""

import dataclasses

import pytest
import torch

from moesaic.artifact import Canary, ModelArtifact
from moesaic.errors import CanaryError, TokenizerError
from moesaic.model.canary import CANARY_TEXTS, canary_sequences, make_canary, mean_difference, replay_plain
from moesaic.model.checkpoint import expert_matrix
from moesaic.model.conversion import pack, quantize, upcycle
from moesaic.model.plain import load_plain
from moesaic.model.quantized import Scheme
from moesaic.model.shards import ShardReader, ShardWriter
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.model.upcycling import UpcycleOptions

pytestmark = pytest.mark.usefixtures("single_thread")
PERTURBED = UpcycleOptions(experts=2, experts_last=3, last=1, noise=0.5, coefficient_bias=0.0, router_std=0.5)


def canary_of(artifact: ModelArtifact) -> Canary:
    assert artifact.manifest.canary is not None
    return artifact.manifest.canary


def logprobs(model, sequences):
    """Log-probabilities by the ordinary forward pass of transformers."""
    rows = []
    for sequence in sequences:
        ids = torch.tensor([sequence])
        with torch.no_grad():
            logp = torch.log_softmax(model(input_ids=ids).logits[0, :-1].float(), -1)
        rows.append(logp.gather(-1, ids[0, 1:, None])[:, 0].tolist())
    return rows


@pytest.fixture
def perturbed(llama_folder, tmp_path):
    return upcycle(str(llama_folder), tmp_path / "perturbed", PERTURBED, dtype="float32")


def test_the_canary_is_the_ordinary_forward_pass(perturbed):
    canary = canary_of(perturbed)
    assert canary.check(logprobs(load_plain(perturbed.folder), canary.sequences)) < 1e-4
    assert canary.check(replay_plain(perturbed)) == 0.0


def test_dense_families_as_well(dense_folder, tmp_path):
    artifact = pack(str(dense_folder), tmp_path / "dense", dtype="float32")
    canary = canary_of(artifact)
    assert canary.check(logprobs(load_plain(artifact.folder), canary.sequences)) < 1e-4


@pytest.mark.parametrize("scheme", list(Scheme))
def test_a_quantized_artifact_has_a_canary_of_its_own(perturbed, tmp_path, scheme):
    quantized = quantize(perturbed.folder, tmp_path / "quantized", scheme)
    assert quantized.manifest.quantization is not None
    assert quantized.manifest.quantization.scheme == scheme
    assert quantized.manifest.lineage.parent == perturbed.digest
    canary, parent = canary_of(quantized), canary_of(perturbed)
    assert canary.sequences == parent.sequences
    assert 1e-3 < mean_difference(canary.logprobs, parent.logprobs) < 1.0
    without_rounded_activations = logprobs(load_plain(quantized.folder), canary.sequences)
    difference = mean_difference(canary.logprobs, without_rounded_activations)
    assert difference < 1e-4 if scheme is Scheme.INT4 else difference > 1e-3


@pytest.mark.parametrize("fault", ["experts", "gate rows", "coefficients"])
def test_one_exchanged_pair_is_noticed(perturbed, tmp_path, fault):
    canary = canary_of(perturbed)
    folder = tmp_path / "faulty"
    folder.mkdir()
    (folder / "config.json").write_bytes(perturbed.path("config.json").read_bytes())
    reader = ShardReader(perturbed.folder)
    with ShardWriter(folder) as writer:
        for name in reader.names:
            tensor = reader.read(name)
            for matrix in ("gate_proj", "up_proj", "down_proj"):
                first, second = expert_matrix(3, 0, matrix), expert_matrix(3, 1, matrix)
                if fault == "experts" and name in (first, second):
                    tensor = reader.read(second if name == first else first)
            if fault != "experts" and name.startswith("model.layers.3.mlp.gate."):
                rows = [0, 1] if fault == "gate rows" else [3, 4]
                tensor[rows] = tensor[rows[::-1]].clone()
            writer.write(name, tensor)
    with pytest.raises(CanaryError):
        canary.check(logprobs(load_plain(folder), canary.sequences))


def test_rounding_to_bf16_is_within_the_threshold_of_a_bf16_artifact(llama_folder, tmp_path):
    artifact = upcycle(str(llama_folder), tmp_path / "moe", PERTURBED)
    canary = canary_of(artifact)
    difference = canary.check(logprobs(load_plain(artifact.folder, dtype=torch.bfloat16), canary.sequences))
    assert 0 < difference <= canary.threshold


def test_the_threshold_follows_the_precision(perturbed):
    assert canary_of(perturbed).threshold == 0.005
    coarse = make_canary(perturbed.folder, canary_of(perturbed).sequences, dtype="bfloat16")
    assert coarse.logprobs == canary_of(perturbed).logprobs
    assert coarse.threshold >= 0.05


def test_sequences_are_as_long_as_each_other_and_known_to_the_model(llama_folder):
    tokenizer = load_tokenizer(llama_folder)
    sequences = canary_sequences(tokenizer, 320)
    assert len(sequences) == len(CANARY_TEXTS)
    assert len({len(sequence) for sequence in sequences}) == 1
    with pytest.raises(TokenizerError, match="tokens 0 to 99"):
        canary_sequences(tokenizer, 100)


def test_an_artifact_survives_being_opened_again(perturbed):
    reopened = ModelArtifact.open(perturbed.folder)
    assert reopened.manifest == perturbed.manifest
    assert dataclasses.asdict(reopened.manifest.architecture) == dataclasses.asdict(perturbed.manifest.architecture)
