"""The plain engine against transformers' own generation, and its refusals."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from moesaic.artifact import ModelArtifact, update_manifest
from moesaic.errors import CanaryError, EngineDeadError, InputError
from moesaic.model.plain import load_plain
from moesaic.server.engine import EngineState, TransformersEngine, TransformersSettings, running
from moesaic.server.engine.plain_model import PlainModel
from moesaic.server.engine.text_stream import TextStream
from tests.server.engine.asking import ask, request
from tests.server.engine.tiny_artifact import CONTEXT_LENGTH, END, write_artifact

LONG_PROMPT = tuple(index * 37 % 250 for index in range(300))  # more than one piece


async def test_greedy_answers_are_those_of_transformers(tiny_artifact: ModelArtifact) -> None:
    model = load_plain(tiny_artifact.folder)
    expected = model.generate(
        torch.tensor([LONG_PROMPT]), max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=END
    )
    async with running(TransformersEngine(tiny_artifact)) as engine:
        (answer,) = await ask(engine, request(LONG_PROMPT, max_tokens=20, temperature=0.0, ignore_eos=True))

    assert list(answer.token_ids) == expected[0, len(LONG_PROMPT) :].tolist()


def test_scores_in_pieces_are_those_of_one_pass(tiny_artifact: ModelArtifact) -> None:
    model = PlainModel(tiny_artifact.folder, "float32")
    sequence = [*LONG_PROMPT, *LONG_PROMPT]
    with torch.inference_mode():
        logits_SV = load_plain(tiny_artifact.folder)(input_ids=torch.tensor([sequence])).logits[0]
    expected = torch.log_softmax(logits_SV[:-1], dim=-1)[torch.arange(len(sequence) - 1), sequence[1:]]
    assert model.logprobs(sequence) == pytest.approx(expected.tolist(), abs=1e-4)


async def test_the_canary_is_replayed_at_start(tmp_path: Path) -> None:
    artifact = write_artifact(tmp_path / "tiny")
    async with running(TransformersEngine(artifact)) as engine:
        assert isinstance(engine, TransformersEngine)
        assert engine.canary_difference is not None
        assert engine.canary_difference < 1e-4

    canary = artifact.manifest.canary
    assert canary is not None
    wrong = replace(canary, logprobs=tuple(tuple(value - 0.1 for value in row) for row in canary.logprobs))
    engine = TransformersEngine(update_manifest(artifact, canary=wrong))
    with pytest.raises(CanaryError, match=r"0\.1 nats"):
        await engine.start()

    assert engine.state is EngineState.FAILED
    with pytest.raises(EngineDeadError, match="CanaryError"):
        engine.generate(request())


async def test_a_coarser_type_gets_the_room_that_it_needs(tiny_artifact: ModelArtifact) -> None:
    async with running(TransformersEngine(tiny_artifact, TransformersSettings(dtype="bfloat16"))) as engine:
        assert isinstance(engine, TransformersEngine)
        assert engine.canary_difference is not None
        assert engine.canary_difference > 0.005, "or this test shows nothing"


def test_settings_out_of_range_are_refused(tiny_artifact: ModelArtifact) -> None:
    with pytest.raises(InputError, match="dtype='int8'"):
        TransformersSettings(dtype="int8")

    limits = TransformersEngine(tiny_artifact, TransformersSettings(context_length=10**6)).limits
    assert limits.context_length == CONTEXT_LENGTH


def test_characters_appear_with_their_last_byte(tiny_artifact: ModelArtifact) -> None:
    tokenizer = TransformersEngine(tiny_artifact).tokenizer
    tokens = tokenizer.encode("héllo 世界🦉")
    stream = TextStream(tokenizer, tokens[:1])
    pieces = [stream.push(token) for token in tokens[1:]]
    assert "".join(pieces) == "éllo 世界🦉"
    assert "\ufffd" not in "".join(pieces)
    assert stream.push(END) == ""
