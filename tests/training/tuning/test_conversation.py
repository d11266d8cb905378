"""Conversations are read strictly: what is wrong is named with file and line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import CorpusError, InputError
from moesaic.training.tuning.conversation import (
    Completion,
    Conversation,
    Example,
    Message,
    Role,
    example_to_json,
    read_examples,
)

ASKED = {"role": "user", "content": "法国的首都是哪里?"}
SAID = {"role": "assistant", "content": "巴黎。"}

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip())


def turns(*, system: str | None, exchanges: list[tuple[str, str, bool]]) -> Conversation:
    messages = [] if system is None else [Message(role=Role.SYSTEM, content=system)]
    for asked, said, learn in exchanges:
        messages += [
            Message(role=Role.USER, content=asked),
            Message(role=Role.ASSISTANT, content=said, learn=learn),
        ]
    messages[-1] = Message(role=Role.ASSISTANT, content=messages[-1].content)
    return Conversation(messages=tuple(messages))


EXAMPLES = st.one_of(
    st.builds(
        turns,
        system=st.none() | TEXTS,
        exchanges=st.lists(st.tuples(TEXTS, TEXTS, st.booleans()), min_size=1, max_size=3),
    ),
    st.builds(Completion, prompt=st.just("") | TEXTS, response=TEXTS, end=st.booleans()),
)


def written(tmp_path: Path, *lines: object) -> Path:
    path = tmp_path / "some.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@given(examples=st.lists(EXAMPLES, min_size=1, max_size=4))
def test_what_is_written_is_read(examples: list[Example], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = written(tmp_path_factory.mktemp("round"), *(example_to_json(example) for example in examples))
    assert list(read_examples(path)) == examples


def test_a_folder_is_read_by_name_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"prompt": "2", "response": "two"}\n')
    (tmp_path / "a.jsonl").write_text('\ufeff\n{"id": 7, "source": "x", "prompt": "1", "response": "one"}\n\n')
    (tmp_path / "notes.txt").write_text("not looked at")
    assert [example.prompt for example in read_examples(tmp_path) if isinstance(example, Completion)] == ["1", "2"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "'{\\\\n' is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "no JSON object"),
        ({"text": "x"}, "lacks prompt, response; it has text"),
        ({"messages": [ASKED, SAID], "weight": 2}, "unknown keys weight; known are id, messages, source"),
        ('{"prompt": "a", "prompt": "b", "response": "c"}', "'prompt' is there twice"),
        ({"messages": "hello"}, "messages='hello' must be a list"),
        ({"messages": []}, "last message is of nobody"),
        ({"messages": [ASKED]}, "last message is of user"),
        ({"messages": [SAID]}, r"messages\[0\] is of the assistant; at the beginning comes system or user"),
        ({"messages": [ASKED, ASKED, SAID]}, r"messages\[1\] is of the user; after user comes assistant"),
        ({"messages": [ASKED, SAID, {"role": "system", "content": "x"}]}, r"messages\[2\] is of the system"),
        ({"messages": [ASKED, {"role": "bot", "content": "x"}]}, r"messages\[1\].role='bot' must be one of system"),
        ({"messages": [ASKED, {"role": "assistant", "content": None}]}, r"messages\[1\].content='None' must be a text"),
        ({"messages": [ASKED, {"role": "assistant", "content": " \n"}]}, "content of the assistant is blank"),
        ({"messages": [ASKED, SAID | {"name": "x"}]}, r"messages\[1\] has the unknown keys name"),
        ({"messages": [ASKED | {"learn": True}, SAID]}, r"messages\[0\].learn stands with the user"),
        ({"messages": [ASKED, SAID | {"learn": "no"}]}, "must be true or false"),
        ({"messages": [ASKED, SAID | {"learn": False}]}, "nothing is to be learnt"),
        ({"messages": [ASKED, "巴黎"]}, r"messages\[1\]='巴黎' must be an object"),
        ({"prompt": "x", "response": "\t"}, "response is blank"),
        ({"prompt": 3, "response": "y"}, "prompt='3' must be a text"),
        ('{"prompt": "", "response": "\\ud83d"}', "half a surrogate pair at character 0"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, line: object, fault: str) -> None:
    path = written(tmp_path, {"messages": [ASKED, SAID]}, "", line)
    examples = read_examples(path)
    assert isinstance(next(examples), Conversation)
    with pytest.raises(CorpusError, match=f"some.jsonl, line 3: .*{fault}"):
        next(examples)


def test_broken_bytes_are_found_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(b'{"prompt": "a", "response": "b"}\n{"prompt": "\xff", "response": "b"}\n')
    with pytest.raises(CorpusError, match="line 2: byte 13 is not UTF-8"):
        list(read_examples(path))


def test_nothing_is_no_data(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"has no \.jsonl file"):
        list(read_examples(tmp_path))
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(CorpusError, match="has no example"):
        list(read_examples(tmp_path))
    with pytest.raises(CorpusError, match="can't be read"):
        list(read_examples(tmp_path / "other.jsonl"))


def test_tools_may_speak_between() -> None:
    order = [Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL, Role.TOOL, Role.ASSISTANT, Role.USER, Role.ASSISTANT]
    assert Conversation(messages=tuple(Message(role=role, content="x") for role in order)).messages
    with pytest.raises(InputError, match="after user comes assistant"):
        Conversation(messages=tuple(Message(role=role, content="x") for role in (Role.USER, Role.TOOL)))
