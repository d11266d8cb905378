"""The examples of docs/search.md do what the page says, against servers on loopback."""

from pathlib import Path
from typing import Any

import pytest

import moesaic.tools.page
from moesaic.tools.search import EngineOptions, SearchConfig
from tests import documents
from tests.repository import ROOT
from tests.tools.page.lab import Lab, answer, fetcher_of, page_of
from tests.tools.search.conftest import PATIENCE_S

PAGE = (ROOT / "docs/search.md").read_text(encoding="utf-8")
BLOCKS = documents.code_blocks(PAGE, "python")


def test_the_example_of_a_search_finds(
    web: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    defaults = EngineOptions.__init__.__kwdefaults__
    assert defaults is not None
    for name in ("timeout_s", "provider_timeout_s"):  # the machine may be busy
        monkeypatch.setitem(defaults, name, PATIENCE_S)
    example = next(block for block in BLOCKS if "SearchConfig" in block)
    assert "http://127.0.0.1:8888" in example
    exec(example.replace("127.0.0.1:8888", web.address), {})
    assert "1 How a router chooses https://moe.example/router?id=7 The router scores" in capsys.readouterr().out


def test_the_example_of_a_page_reads(
    web: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "A mixture of experts sends each token to few of them, so that a large model computes little."
    web.routes["/article"] = answer(page_of("Experts", text, text + " Again."))
    example = next(block for block in BLOCKS if "PageFetcher" in block and "def read" in block)
    monkeypatch.setattr(moesaic.tools.page, "PageFetcher", lambda: fetcher_of(web), raising=False)
    scope: dict[str, Any] = {}
    exec(example, scope)
    assert text in scope["read"](web.url("/article"))
    assert capsys.readouterr().out.startswith(f"Experts {web.url('/article')} 20")


def test_the_example_of_a_file_is_read(tmp_path: Path) -> None:
    (block,) = documents.code_blocks(PAGE, "toml")
    (tmp_path / "search.toml").write_text(block)
    config = SearchConfig.load(tmp_path / "search.toml")
    assert config.engines == ("searxng", "brave", "kb:guide", "ddgs")
    assert config.brave_key_file == tmp_path / "brave.key"
