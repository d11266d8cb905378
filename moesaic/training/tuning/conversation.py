"""What a model is tuned on: conversations, and texts that are continued without a chat template; read from JSONL.

A line is one of

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
    {"prompt": "…", "response": "…"}

- `messages` go through the tokenizer's chat template. Roles are system (first, at most once), user, assistant and tool;
  a user or a tool is answered by the assistant, and the last word is the assistant's.
- An assistant's message with `"learn": false` is read but not learnt: an example that stands in the prompt.
- `prompt` and `response` are joined as they stand, as a server does with a text that it is asked to continue or score;
  `"end": false` leaves out the token that ends a text.
- `id` and `source` may stand beside them and are not looked at. Every other key is refused, and so are blank contents:
  a misspelt key must not become a model that learnt nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from moesaic.errors import CorpusError, InputError

__all__ = ["Completion", "Conversation", "Example", "Message", "Role", "example_to_json", "read_examples"]

_IGNORED_KEYS = {"id", "source"}
_SUFFIX = ".jsonl"


class Role(StrEnum):
    """Who speaks."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn.

    Raises:
        InputError: it is blank, or no text that UTF-8 can write.
    """

    role: Role
    content: str
    learn: bool = True
    """Whether an assistant's words are learnt; the others' never are."""

    def __post_init__(self) -> None:
        """Refuse what no model should see."""
        _check_text(f"the content of the {self.role}", self.content, blank=self.role is Role.TOOL)


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """Turns that alternate, the last of them the assistant's.

    Raises:
        InputError: the order of roles is another one, or nothing is to be learnt.
    """

    messages: tuple[Message, ...]

    def __post_init__(self) -> None:
        """Check the order of the turns."""
        before: Role | None = None
        for index, message in enumerate(self.messages):
            if message.role not in _FOLLOWERS[before]:
                allowed = " or ".join(sorted(_FOLLOWERS[before]))
                after = f"after {before}" if before else "at the beginning"
                raise InputError(f"messages[{index}] is of the {message.role}; {after} comes {allowed}")
            before = message.role
        if before is not Role.ASSISTANT:
            raise InputError(f"the last message is of {before or 'nobody'}; it must be the assistant's")
        if not any(message.learn for message in self.messages if message.role is Role.ASSISTANT):
            raise InputError("nothing is to be learnt: every assistant's message has learn=false")


_FOLLOWERS: Mapping[Role | None, frozenset[Role]] = {
    None: frozenset({Role.SYSTEM, Role.USER}),
    Role.SYSTEM: frozenset({Role.USER}),
    Role.USER: frozenset({Role.ASSISTANT}),
    Role.ASSISTANT: frozenset({Role.USER, Role.TOOL}),
    Role.TOOL: frozenset({Role.ASSISTANT, Role.TOOL}),
}


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A text that is continued without a chat template.

    Raises:
        InputError: the response is blank, or one of them is no text.
    """

    prompt: str
    """What is read; may be empty."""
    response: str
    """What is learnt."""
    end: bool = True
    """Whether the end of the text is learnt too; without it the model learns to go on."""

    def __post_init__(self) -> None:
        """Refuse what teaches nothing."""
        _check_text("prompt", self.prompt, blank=True)
        _check_text("response", self.response)


Example: TypeAlias = Conversation | Completion


def read_examples(path: Path) -> Iterator[Example]:
    """The examples of a `.jsonl` file, or of all such files of a folder by name, line by line.

    Raises:
        CorpusError: there is no such file, a file has no example, or a line is none; it is named with its number.
    """
    files = sorted(path.glob(f"*{_SUFFIX}")) if path.is_dir() else [path]
    if not files:
        raise CorpusError(f"{path} has no {_SUFFIX} file: put conversations there, one JSON object a line")
    for file in files:
        empty = True
        for example in _examples_of(file):
            empty = False
            yield example
        if empty:
            raise CorpusError(f"{file} has no example: write one JSON object a line, or remove it")


def example_to_json(example: Example) -> dict[str, Any]:
    """The line that `read_examples` reads the example from."""
    if isinstance(example, Completion):
        end = {} if example.end else {"end": False}
        return {"prompt": example.prompt, "response": example.response, **end}
    return {
        "messages": [
            {"role": str(turn.role), "content": turn.content, **({} if turn.learn else {"learn": False})}
            for turn in example.messages
        ]
    }


def _examples_of(file: Path) -> Iterator[Example]:
    for number, line in _lines(file):
        try:
            yield _example(json.loads(line, object_pairs_hook=_unique))
        except InputError as error:
            raise CorpusError(f"{file}, line {number}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise CorpusError(f"{file}, line {number}: {line[:60]!r} is not JSON ({error}): correct it") from error


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, with their numbers from 1."""
    try:
        with file.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError as error:
                    raise CorpusError(
                        f"{file}, line {number}: byte {error.start + 1} is not UTF-8 ({error.reason}): convert the file"
                    ) from error
                if line.strip():
                    yield number, line
    except OSError as error:
        raise CorpusError(
            f"{file} can't be read ({error.strerror}): give a {_SUFFIX} file or a folder of them"
        ) from error


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object that says nothing twice."""
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise InputError(f"the key {key!r} is there twice; keep one")
        result[key] = value
    return result


def _example(value: object) -> Example:
    if not isinstance(value, dict):
        raise InputError(f"{str(value)[:60]!r} is no JSON object; give one with messages, or with prompt and response")
    fields = {key: item for key, item in value.items() if key not in _IGNORED_KEYS}
    if "messages" in fields:
        _check_keys(fields, required={"messages"}, optional=set())
        turns = fields["messages"]
        if not isinstance(turns, list):
            _refuse("messages", turns, "a list")
        return Conversation(messages=tuple(_message(index, turn) for index, turn in enumerate(turns)))

    _check_keys(fields, required={"prompt", "response"}, optional={"end"})
    return Completion(
        prompt=_text("prompt", fields["prompt"]),
        response=_text("response", fields["response"]),
        end=_flag("end", fields.get("end", True)),
    )


def _message(index: int, value: object) -> Message:
    where = f"messages[{index}]"
    if not isinstance(value, dict):
        _refuse(where, value, "an object with role and content")
    _check_keys(value, required={"role", "content"}, optional={"learn"}, where=f"{where} ")
    role = value["role"]
    if role not in list(Role):
        raise InputError(f"{where}.role={role!r} must be one of {', '.join(Role)}")
    if "learn" in value and role != Role.ASSISTANT:
        raise InputError(f"{where}.learn stands with the {role}; only an assistant's message is learnt")
    return Message(
        role=Role(role),
        content=_text(f"{where}.content", value["content"]),
        learn=_flag(f"{where}.learn", value.get("learn", True)),
    )


def _check_keys(value: Mapping[str, Any], *, required: set[str], optional: set[str], where: str = "") -> None:
    if missing := sorted(required - value.keys()):
        raise InputError(f"{where}lacks {', '.join(missing)}; it has {', '.join(sorted(value)) or 'nothing'}")
    if unknown := sorted(value.keys() - required - optional):
        known = ", ".join(sorted(required | optional | (set() if where else _IGNORED_KEYS)))
        raise InputError(f"{where}has the unknown keys {', '.join(unknown)[:120]}; known are {known}")


def _text(where: str, value: object) -> str:
    return value if isinstance(value, str) else _refuse(where, value, "a text")


def _flag(where: str, value: object) -> bool:
    return value if isinstance(value, bool) else _refuse(where, value, "true or false")


def _refuse(where: str, value: object, wanted: str) -> NoReturn:
    raise InputError(f"{where}={str(value)[:60]!r} must be {wanted}")


def _check_text(where: str, text: str, *, blank: bool = False) -> None:
    if not blank and not text.strip():
        raise InputError(f"{where} is blank; write something or leave the example out")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{where} holds half a surrogate pair at character {error.start}: write whole ones") from error
