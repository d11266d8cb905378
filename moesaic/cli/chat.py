"""`moesaic chat`: a conversation with a served model, in a terminal or through a pipe.

- Ctrl-C stops the answer: the call is cancelled and the server stops computing. Ctrl-D leaves.
- Where standard input is no terminal, each line is a turn, and the first failure ends the command with its exit code.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from moesaic.cli.failure import report_failure
from moesaic.cli.model_client import read_token
from moesaic.cli.shared_options import RootCertificates, TokenFile
from moesaic.errors import InputError, MoesaicError

if TYPE_CHECKING:
    from moesaic import v1
    from moesaic.client import Client

__all__ = ["chat"]

_HELP = """\
/help   this list
/reset  forget the conversation, keep the instruction
Ctrl-C  stop the answer
Ctrl-D  leave"""


def chat(
    target: Annotated[str, typer.Option(help="Where the server is: HOST:PORT, or unix:/path of a socket.")],
    system: Annotated[str | None, typer.Option(help="Instruction that precedes the conversation.")] = None,
    temperature: Annotated[float, typer.Option(help="0 takes the most likely token, 1 draws from the model.")] = 0.7,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of an answer; the server's default if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Makes drawing reproducible.")] = None,
    token_file: TokenFile = None,
    root_certificates: RootCertificates = None,
    timeout_s: Annotated[float, typer.Option(help="Longest time of an answer, in seconds.")] = 600.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each turn.")] = False,
) -> None:
    """Talk with a served model; the answer appears as it is computed.

    Example: moesaic chat --target 127.0.0.1:8080 --system "Answer in one sentence."
    """
    from moesaic import v1
    from moesaic.client import Client

    sampling = v1.SamplingParameters(temperature=temperature, max_tokens=max_tokens, seed=_seed(seed))
    token = None if token_file is None else read_token(token_file)
    with Client(target, token=token, root_certificates=root_certificates, timeout_s=timeout_s) as client:
        conversation = _Conversation(client, system, sampling)
        if sys.stdin.isatty():
            _talk(conversation, as_json=as_json)
        else:
            _answer_lines(conversation, sys.stdin, as_json=as_json)


class _Conversation:
    """The turns so far, and how the next one is answered."""

    def __init__(self, client: "Client", system: str | None, sampling: "v1.SamplingParameters") -> None:
        from moesaic import v1

        self._client = client
        self._sampling = sampling
        self._beginning = [v1.ChatMessage(role=v1.Role.ROLE_SYSTEM, content=_utf8(system))] if system else []
        self._messages = [*self._beginning]

    def reset(self) -> None:
        """Forget all turns."""
        self._messages = [*self._beginning]

    def ask(self, text: str, show: Callable[[str], None]) -> dict[str, Any]:
        """Answer one turn, giving new text to `show`; what was said until a failure or an interruption is kept."""
        from moesaic import v1

        question = v1.ChatMessage(role=v1.Role.ROLE_USER, content=_utf8(text))
        request = v1.ChatRequest(messages=[*self._messages, question], sampling=self._sampling)
        answer: dict[str, Any] = {"prompt": text, "text": ""}
        began = time.perf_counter()
        try:
            with closing(self._client.chat_stream(v1.ChatStreamRequest(request=request))) as events:
                for event in events:
                    _take(event, answer)
                    if event.delta.text:
                        show(event.delta.text)
        finally:
            if answer["text"]:
                self._messages += [question, v1.ChatMessage(role=v1.Role.ROLE_ASSISTANT, content=answer["text"])]
        return answer | {"seconds": round(time.perf_counter() - began, 3)}


def _take(event: "v1.ChatStreamResponse", answer: dict[str, Any]) -> None:
    """Add what an event says to an answer."""
    from moesaic import v1

    if event.HasField("started"):
        started = event.started
        answer |= {"model": started.model, "weight_version": started.weight_version, "request_id": started.request_id}
    elif event.HasField("delta"):
        answer["text"] += event.delta.text
    else:
        reason = v1.FinishReason.Name(event.finished.finish_reason).removeprefix("FINISH_REASON_").lower()
        usage = event.finished.usage
        answer |= {"finish_reason": reason}
        answer |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}


def _talk(conversation: _Conversation, *, as_json: bool) -> None:
    """Answer what is typed, until Ctrl-D."""
    aside = Console(stderr=True, highlight=False)
    aside.print("[dim]/help lists what can be typed, Ctrl-D leaves.[/dim]")
    with suppress(ImportError):  # not every Python has it; lines can then be typed, but not edited
        import readline  # noqa: F401

    for line in _typed(aside):
        if _command(line, conversation, aside):
            continue
        try:
            _answer(conversation, line, aside, as_json=as_json)
        except KeyboardInterrupt:
            typer.echo()
            aside.print("[dim]stopped[/dim]")
        except MoesaicError as error:
            report_failure(error)


def _typed(aside: Console) -> Iterator[str]:
    """What is typed after each prompt; Ctrl-C clears the line."""
    while True:
        try:
            yield input("> ")
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            typer.echo()
            aside.print("[dim]Ctrl-D leaves[/dim]")


def _answer_lines(conversation: _Conversation, lines: Iterable[str], *, as_json: bool) -> None:
    aside = Console(stderr=True, highlight=False)
    for line in lines:
        text = line.rstrip("\r\n")
        if not _command(text, conversation, aside):
            _answer(conversation, text, aside, as_json=as_json)


def _command(line: str, conversation: _Conversation, aside: Console) -> bool:
    """Do what a line says that is not for the model; False if it is."""
    word = line.strip()
    if word == "/reset":
        conversation.reset()
        aside.print("[dim]forgotten[/dim]")
        return True
    if word.startswith("/") and word[1:].isalpha():
        aside.print(_HELP if word == "/help" else f"{word} is not known.\n{_HELP}", markup=False)
        return True
    return not word


def _answer(conversation: _Conversation, line: str, aside: Console, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(conversation.ask(line, show=_nothing), ensure_ascii=False))
        return
    with aside.status("thinking") as waiting:

        def show(text: str) -> None:
            waiting.stop()
            typer.echo(text, nl=False)

        answer = conversation.ask(line, show)
    typer.echo()
    seconds, tokens = answer["seconds"], answer["completion_tokens"]
    aside.print(f"[dim]{tokens} tokens in {seconds:.1f} s, ended by {answer['finish_reason']}[/dim]")


def _nothing(text: str) -> None:
    """Show nothing: JSON is printed when the answer is complete."""


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # what the terminal gave is kept as half a character, which no message takes
        raise InputError(f"{text[:40]!r} is not text in UTF-8 ({error.reason}): convert it first") from error
    return text


def _seed(seed: int | None) -> int | None:
    if seed is not None and not 0 <= seed < 2**63:
        raise InputError(f"seed={seed} is not an integer from 0 to {2**63 - 1}")
    return seed
