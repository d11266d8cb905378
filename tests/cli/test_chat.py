"""`moesaic chat` over a real server: turns through a pipe, and a conversation in a terminal that is interrupted."""

import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moesaic.server.engine import GenerateRequest, ScriptedEngine, ScriptedReply
from tests.chains.scene import until_idle
from tests.chains.served import served
from tests.cli.running import Outcome, refusal, run

ENDLESS = "and so on " * 400


def script(request: GenerateRequest) -> ScriptedReply:
    """Say what was asked last; take long where that is `long`."""
    question = bytes(request.prompt_token_ids).decode().split("user: ")[-1].removesuffix("\nassistant: ")
    if question == "die":
        return ScriptedReply(dies_after=1)
    if question == "long":
        return ScriptedReply(text=ENDLESS, token_delay_s=0.02)
    return ScriptedReply(text=f"You said {question}.")


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine(script, context_length=8192)


@pytest.fixture
def target(engine: ScriptedEngine) -> Iterator[str]:
    with served(engine) as found:
        yield found


def chat(monkeypatch: pytest.MonkeyPatch, lines: str, *words: object) -> Outcome:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return run("chat", *words)


def prompts(engine: ScriptedEngine) -> list[str]:
    return [bytes(request.prompt_token_ids).decode() for request in engine.requests]


def test_each_line_is_answered(monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine, target: str) -> None:
    outcome = chat(monkeypatch, "你好\n\nand now\n", "--target", target, "--system", "Be brief.")
    assert (outcome.code, outcome.stdout) == (0, "You said 你好.\nYou said and now.\n")
    assert "ended by stop" in outcome.stderr
    assert prompts(engine) == [
        "system: Be brief.\nuser: 你好\nassistant: ",
        "system: Be brief.\nuser: 你好\nassistant: You said 你好.\nuser: and now\nassistant: ",
    ]


def test_json_is_one_object_for_each_turn(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    outcome = chat(monkeypatch, "one\ntwo", "--target", target, "--json", "--max-tokens", 8, "--temperature", 0)
    turns: list[dict[str, Any]] = [json.loads(line) for line in outcome.stdout.splitlines()]
    assert [(turn["prompt"], turn["text"], turn["finish_reason"]) for turn in turns] == [
        ("one", "You said", "length"),
        ("two", "You said", "length"),
    ]
    assert turns[0]["model"] == "tiny"
    assert turns[0]["weight_version"]
    assert turns[0]["completion_tokens"] == 8
    assert turns[0]["request_id"] != turns[1]["request_id"]


def test_commands_are_not_sent(monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine, target: str) -> None:
    lines = "one\n/reset\n/help\n/quit\n/etc/hosts\n"
    outcome = chat(monkeypatch, lines, "--target", target, "--system", "Be brief.")
    assert outcome.stdout == "You said one.\nYou said /etc/hosts.\n"
    assert prompts(engine)[1] == "system: Be brief.\nuser: /etc/hosts\nassistant: "
    assert "forgotten" in outcome.stderr
    assert "Ctrl-C  stop the answer" in outcome.stderr
    assert "/quit is not known." in outcome.stderr


def test_a_failure_ends_with_its_exit_code(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n"))
    assert "temperature" in refusal(2, "chat", "--target", target, "--temperature", 9)
    monkeypatch.setattr(sys, "stdin", io.StringIO("long\n"))
    assert "timeout_s" in refusal(8, "chat", "--target", target, "--timeout-s", 0.5)
    monkeypatch.setattr(sys, "stdin", io.StringIO("half \udce4\n"))
    assert "UTF-8" in refusal(2, "chat", "--target", target)


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--target", "example.org:1", "--token-file", "token"], "must not travel unencrypted"),
        (["--target", "127.0.0.1:1", "--token-file", "gone"], "token_file='gone'"),
        (["--target", "127.0.0.1:1", "--root-certificates", "gone"], "gone"),
        (["--target", "127.0.0.1:1", "--seed", "-1"], "seed=-1"),
        (["--target", ""], "HOST:PORT"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], part: str
) -> None:
    (tmp_path / "token").write_text("secret\n")
    monkeypatch.chdir(tmp_path)
    message = refusal(2, "chat", *words)
    assert part in message
    assert "secret" not in message


class Terminal:
    """A process whose standard streams are a terminal."""

    def __init__(self, *words: str) -> None:
        self._master, slave = pty.openpty()
        # A suite that was started in the background may have left the signal ignored for all that it starts.
        code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        code += "from moesaic.cli import main; main()"
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *words], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self.shown = ""

    def type(self, text: str) -> None:
        os.write(self._master, text.encode())

    def wait_for(self, text: str, *, within_s: float = 60.0) -> None:
        """Wait until `text` was shown after what was waited for before."""
        ends = time.monotonic() + within_s
        while text not in self.shown:
            assert time.monotonic() < ends, self.shown
            if select.select([self._master], [], [], 0.1)[0]:
                self.shown += os.read(self._master, 65536).decode(errors="replace")
        self.shown = self.shown.partition(text)[2]

    def interrupt_once_it_waits(self) -> None:
        """Ctrl-C at the prompt. It shows before the process waits for a key; a signal between the two wakes nobody.

        That gap is Python's own (`input` with readline looks at signals only when its `select` is interrupted): who
        hits it presses Ctrl-C again.
        """
        ends = time.monotonic() + 60
        while Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < ends, "the process does not come to rest"
            time.sleep(0.02)
        self.process.send_signal(signal.SIGINT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)


@pytest.fixture
def terminal(target: str) -> Iterator[Terminal]:
    found = Terminal("chat", "--target", target, "--max-tokens", "4000")  # of a long answer: more than a minute
    yield found
    found.close()


def test_an_answer_can_be_stopped(engine: ScriptedEngine, terminal: Terminal) -> None:
    terminal.wait_for("> ")
    terminal.type("one\n")
    terminal.wait_for("You said one.")
    terminal.wait_for("> ")
    terminal.type("long\n")
    terminal.wait_for("and so on")
    terminal.process.send_signal(signal.SIGINT)
    terminal.wait_for("stopped")
    terminal.wait_for("> ")
    until_idle(engine)
    terminal.interrupt_once_it_waits()
    terminal.wait_for("Ctrl-D leaves")
    terminal.wait_for("> ")
    terminal.type("two\n")
    terminal.wait_for("You said two.")
    terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0
    assert "user: long\nassistant: and so on" in prompts(engine)[2]


def test_a_failure_does_not_end_the_conversation(terminal: Terminal) -> None:
    terminal.wait_for("> ")
    terminal.type("die\n")
    terminal.wait_for("EngineDeadError")
    terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0
