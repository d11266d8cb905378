"""The configuration: from a file, from the environment, in words."""

import sys
from pathlib import Path

import pytest

from moesaic.errors import InputError, NotFoundError, StorageError
from moesaic.retrieval import Document, KnowledgeBase, ScriptedEmbedder
from moesaic.tools.search import EngineOptions, SearchConfig

ALL_SET = {"SEARXNG_URL": "http://127.0.0.1:8888", "BRAVE_API_KEY": "sk-brave-1", "TAVILY_API_KEY": "sk-tavily-1"}


def names(config: SearchConfig, environ: dict[str, str]) -> list[str]:
    with config.build(environ=environ) as engine:
        return [provider.name for provider in engine.providers]


def test_without_a_word_all_are_asked_that_are_set_up() -> None:
    assert names(SearchConfig(), {}) == ["ddgs"]
    assert names(SearchConfig(), ALL_SET) == ["searxng", "brave", "tavily", "ddgs"]
    assert names(SearchConfig(searxng_url="http://127.0.0.1:1"), {"TAVILY_API_KEY": "x"}) == [
        "searxng",
        "tavily",
        "ddgs",
    ]


def test_engines_come_in_the_order_that_was_given() -> None:
    assert names(SearchConfig(engines=("tavily", "searxng")), ALL_SET) == ["tavily", "searxng"]


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("searxng", "searxng_url or SEARXNG_URL"),
        ("brave", "brave_key_file or BRAVE_API_KEY"),
        ("tavily", "tavily_key_file or TAVILY_API_KEY"),
    ],
)
def test_what_is_missing_is_named(name: str, missing: str) -> None:
    with pytest.raises(InputError, match=f"{name} is not set up: give {missing}"):
        SearchConfig(engines=(name,)).build(environ={})


def test_a_file_says_it_all(tmp_path: Path) -> None:
    (tmp_path / "brave.key").write_text("sk-from-file\n")
    path = tmp_path / "search.toml"
    path.write_text(
        '[search]\nengines = ["brave", "searxng"]\nsearxng_url = "http://127.0.0.1:8888"\n'
        'brave_key_file = "brave.key"\ncache_file = "cache.sqlite"\ncache_ttl_s = 60\ncache_entries = 5\n'
        "timeout_s = 7.5\nprovider_timeout_s = 3\n"
    )
    config = SearchConfig.load(path)
    assert config.options == EngineOptions(timeout_s=7.5, provider_timeout_s=3)
    assert "sk-from-file" not in repr(config)
    with config.build(environ={}) as engine:
        assert [provider.name for provider in engine.providers] == ["brave", "searxng"]
        assert engine.options.timeout_s == 7.5
    assert (tmp_path / "cache.sqlite").is_file()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "cannot be read as TOML"),
        ("", r"must have one table, \[search\]"),
        ("[search]\n[other]\n", r"must have one table, \[search\]"),
        ('[search]\nbrave_key = "sk-1"\n', "brave_key unknown; keys are brave_endpoint"),
        ('[search]\nengines = "ddgs"\n', "engines='ddgs' must be a list of names"),
        ('[search]\nengines = ["google"]\n', "'google' is unknown; there are searxng, brave, tavily, ddgs and kb:NAME"),
        ('[search]\nengines = ["kb:"]\n', "'kb:' is unknown"),
        ('[search]\nengines = ["ddgs", "ddgs"]\n', "names one twice"),
        ("[search]\nsearxng_url = 7\n", "searxng_url=7 must be a text"),
        ('[search]\ntimeout_s = "long"\n', "timeout_s='long' must be a number"),
        ("[search]\ncache_entries = 1.5\n", "cache_entries=1.5 must be a whole number"),
        ("[search]\ntimeout_s = true\n", "timeout_s=True must be a number"),
        ("[search]\ntimeout_s = -1\n", "timeout_s=-1 must be"),
    ],
)
def test_files_with_mistakes_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "search.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        SearchConfig.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.toml cannot be read"):
        SearchConfig.load(tmp_path / "gone.toml")


def test_a_knowledge_base_is_an_engine_and_closed_with_it(tmp_path: Path) -> None:
    with KnowledgeBase.create(tmp_path / "pets", embedder=ScriptedEmbedder(16)) as base:
        base.add([Document(id="cats", title="Cats", text="Cats sleep sixteen hours a day. 猫每天睡十六个小时。")])
    patient = EngineOptions(timeout_s=60.0, provider_timeout_s=60.0)  # the machine may be busy
    with SearchConfig(engines=("kb:pets",), kb_home=tmp_path, options=patient).build(environ={}) as engine:
        found = engine.search("猫睡多久").results
        assert found[0].span is not None
        assert found[0].span.base == "pets"
    with pytest.raises(NotFoundError, match="'dogs' does not exist"):
        SearchConfig(engines=("kb:pets", "kb:dogs"), kb_home=tmp_path).build(environ={})


def test_a_cache_that_cannot_be_is_an_error_and_may_be_switched_off(tmp_path: Path) -> None:
    nowhere = tmp_path / "no" / "cache.sqlite"
    with pytest.raises(StorageError):
        SearchConfig(cache_file=nowhere).build(environ={})
    SearchConfig(cache_file=nowhere, cache_ttl_s=0).build(environ={}).close()


def test_the_package_names_what_it_has() -> None:
    import moesaic.tools.page
    import moesaic.tools.search

    for package in (moesaic.tools.search, moesaic.tools.page):
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
        with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
            _ = package.Nothing


@pytest.mark.parametrize("package", ["search", "page"])
def test_a_missing_package_is_named_with_its_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    from moesaic.errors import MissingDependencyError

    module = importlib.import_module(f"moesaic.tools.{package}")
    name = {"search": "SearxngSearch", "page": "GuardedTransport"}[package]
    monkeypatch.delitem(vars(module), name, raising=False)
    source = next(key for key, names_ in module._MODULES.items() if name in names_)
    full = source if source.startswith("moesaic") else f"{module.__name__}.{source}"
    monkeypatch.delitem(sys.modules, full, raising=False)
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(MissingDependencyError, match=r"httpx, which is not installed: pip install 'moesaic\[tools\]'"):
        getattr(module, name)
