"""The process that takes pages apart: killed when it must be, and there again for the next page."""

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from moesaic.errors import PageLimitError, UnreadablePageError
from moesaic.tools.page import reading_process
from moesaic.tools.page.reading_process import ReadingProcess
from moesaic.tools.page.reading_worker import read_page
from tests.tools.page.lab import page_of

TEXT = "A mixture of experts sends each token to few of them, so that a large model computes as little as a small one."
PAGE = page_of("Title", TEXT, TEXT + " Again.")
SLOW = "<html><body><p " + " ".join(f'a{n}="b"' for n in range(100_000)) + ">x</p></body></html>"


def read(process: ReadingProcess, html: str = PAGE, timeout_s: float = 60, **given: object) -> tuple[str, str]:
    said = process.read(html, characters=10_000, timeout_s=timeout_s, url="http://site.test/", **given)  # type: ignore[arg-type]
    return said.title, said.text


def once_it_is_asked(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> threading.Thread:
    """A thread that does something when the process has been given its next page, and somebody waits for the answer."""
    thread = threading.Thread(target=then)
    write = reading_process._write

    def written(*given: Any) -> None:
        write(*given)
        monkeypatch.setattr(reading_process, "_write", write)
        thread.start()

    monkeypatch.setattr(reading_process, "_write", written)
    return thread


@pytest.fixture
def process() -> object:
    made = ReadingProcess()
    yield made
    made.close()


def test_title_and_text_come_out(process: ReadingProcess) -> None:
    title, text = read(process)
    assert title == "Title"
    assert TEXT in text


def test_one_process_serves_page_after_page(process: ReadingProcess) -> None:
    read(process)
    assert process._process is not None
    first = process._process.pid
    for _ in range(3):
        read(process)
    assert process._process.pid == first


def test_the_start_of_the_process_does_not_count(process: ReadingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0

    def start_slowly() -> object:
        nonlocal now
        now += 40
        return popen()

    popen = process._popen
    monkeypatch.setattr(process, "_popen", start_slowly)
    monkeypatch.setattr(reading_process, "time", SimpleNamespace(monotonic=lambda: now))
    assert read(process, timeout_s=5)[0] == "Title"


def test_nor_does_it_for_those_who_wait(process: ReadingProcess) -> None:
    failures: list[Exception] = []

    def wait() -> None:
        try:
            read(process, timeout_s=0.3)
        except PageLimitError as error:
            failures.append(error)

    waiting = threading.Thread(target=wait)
    with process._lock:
        process._starting = True
        waiting.start()
        waiting.join(1.5)
        assert waiting.is_alive()
        process._starting = False
        waiting.join(60)
    assert len(failures) == 1


def test_a_thread_that_stands_still_has_waited_all_the_same(
    process: ReadingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures: list[Exception] = []
    looks: list[float] = []

    def forty_seconds_later() -> float:
        looks.append(40.0 * len(looks))
        return looks[-1]

    def wait() -> None:
        try:
            read(process, timeout_s=5)
        except PageLimitError as error:
            failures.append(error)

    monkeypatch.setattr(reading_process, "time", SimpleNamespace(monotonic=forty_seconds_later))
    waiting = threading.Thread(target=wait)
    with process._lock:
        process._starting = True
        waiting.start()
        while len(looks) < 5 and waiting.is_alive():
            waiting.join(0.01)
        assert waiting.is_alive()
        process._starting = False
        waiting.join(60)
    assert len(failures) == 1


def test_a_process_that_does_not_come_up_is_an_error(process: ReadingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading_process, "_START_S", 0.0)
    with pytest.raises(
        UnreadablePageError, match=r"broke the process that reads pages \(it did not start within 0 s\)"
    ):
        read(process)
    monkeypatch.undo()
    assert read(process)[0] == "Title"


def test_a_killed_process_is_an_error_and_then_there_again(process: ReadingProcess) -> None:
    read(process)
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert read(process)[0] == "Title"


def test_a_process_that_dies_over_a_page_says_so(process: ReadingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    read(process)
    assert process._process is not None
    killer = once_it_is_asked(monkeypatch, process._process.kill)
    with pytest.raises(UnreadablePageError, match="broke the process that reads pages"):
        read(process, SLOW)
    killer.join()
    assert read(process)[0] == "Title"


def test_too_slow_a_page_is_killed(process: ReadingProcess) -> None:
    read(process)
    with pytest.raises(PageLimitError, match=r"not taken apart within 0\.3 s"):
        read(process, SLOW, timeout_s=0.3)
    assert process._process is None
    assert read(process)[0] == "Title"


def test_who_does_not_want_a_page_any_more_frees_the_process(process: ReadingProcess) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(PageLimitError):
        read(process, SLOW, timeout_s=60, stop=stop)
    assert read(process)[0] == "Title"


def test_who_waits_for_another_page_does_so_in_bounds(process: ReadingProcess) -> None:
    failures: list[Exception] = []
    stop = threading.Event()

    def read_slowly() -> None:
        try:
            read(process, SLOW, stop=stop)
        except PageLimitError as error:
            failures.append(error)

    slow = threading.Thread(target=read_slowly)
    slow.start()
    while process._process is None:
        time.sleep(0.01)
    with pytest.raises(PageLimitError, match="others came before"):
        read(process, timeout_s=0.2)
    stop.set()
    slow.join()
    assert len(failures) == 1


def test_closing_while_it_reads_ends_that_too(process: ReadingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    read(process)
    closer = once_it_is_asked(monkeypatch, process.close)
    with pytest.raises(UnreadablePageError):
        read(process, SLOW)
    closer.join()


def test_the_worker_has_no_environment_and_a_bound_of_memory(
    process: ReadingProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRAVE_API_KEY", "very-secret")
    read(process)
    assert process._process is not None
    with open(f"/proc/{process._process.pid}/environ", "rb") as file:
        assert b"secret" not in file.read()
    with open(f"/proc/{process._process.pid}/limits") as limits:
        line = next(line for line in limits if line.startswith("Max address space"))
    assert str(3 * 2**30) in line


def test_text_is_cut_in_the_worker() -> None:
    said = read_page(page_of("T", *[f"{n} {TEXT}" for n in range(20)]), 50)
    assert (len(said["text"]), said["truncated"]) == (50, True)
    json.dumps(said)


def test_a_page_without_an_article_gives_its_words() -> None:
    assert read_page("<ul><li>one<li>two</ul>", 100)["text"].split() == ["one", "two"]
