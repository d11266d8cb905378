"""`moesaic search` and `moesaic page`, run as the shell would run them, against servers on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ddgs.engines.duckduckgo
import pytest

from moesaic.tools.page import FetchOptions
from moesaic.tools.search import EngineOptions
from tests.cli.running import refusal, run
from tests.tools.page.lab import Lab, answer, lab, page_of
from tests.tools.search.web_engines import Index, duckduckgo, searxng

TEXT = "A mixture of experts sends each token to few of them, so that a large model computes as little as a small one."


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    made = Index(tmp_path_factory.mktemp("web") / "index")
    yield made
    made.base.close()


def be_patient(monkeypatch: pytest.MonkeyPatch, options: type[EngineOptions | FetchOptions], *names: str) -> None:
    """Change limits that no option of the command sets: none of these tests is about time."""
    defaults = options.__init__.__kwdefaults__
    assert defaults is not None
    for name in names:
        monkeypatch.setitem(defaults, name, 60.0)


@pytest.fixture
def web(index: Index, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The environment names SearXNG alone; ddgs is led to a server of ours as well."""
    be_patient(monkeypatch, EngineOptions, "timeout_s", "provider_timeout_s")
    for name in ("BRAVE_API_KEY", "TAVILY_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with lab({"/search": searxng(index), "/html/": duckduckgo(index)}) as running:
        monkeypatch.setenv("SEARXNG_URL", f"http://127.0.0.1:{running.port}")
        monkeypatch.setattr(ddgs.engines.duckduckgo.Duckduckgo, "search_url", running.url("/html/", host="127.0.0.1"))
        yield running


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "search.toml"
    path.write_text('[search]\nddgs_backend = "duckduckgo"\n')
    return path


def found(*words: object) -> dict[str, Any]:
    outcome = run("search", *words, "--json")
    assert outcome.code == 0, outcome
    value = json.loads(outcome.stdout)
    assert isinstance(value, dict)
    return value


def test_results_are_shown(web: Lab) -> None:
    outcome = run("search", "router softmax margin", "--engine", "searxng", "-k", 1)
    assert outcome.code == 0
    assert outcome.stdout.splitlines()[0] == "1. How a router chooses  searxng"
    assert "   https://moe.example/router?id=7  20" in outcome.stdout
    assert "stable the choice" in outcome.stdout


def test_results_are_printed_as_json(web: Lab) -> None:
    value = found("量化　八位整数", "-e", "searxng", "--language", "zh", "--time-range", "month", "--safety", "strict")
    assert (value["query"], value["provider"]) == ("量化 八位整数", "searxng")
    assert value["results"][0]["url"] == "https://quant.example/zh/int8"
    target = web.requests[0].target
    assert "language=zh" in target
    assert "time_range=month" in target
    assert "safesearch=2" in target


def test_the_next_engine_answers_where_one_fails(web: Lab, config: Path) -> None:
    web.routes["/search"] = answer("oops", status="500 Oops")
    value = found("router softmax margin", "--config", config)
    assert value["provider"] == "ddgs"
    assert value["attempts"][0]["provider"] == "searxng"
    assert "status 500" in value["attempts"][0]["reason"]
    shown = run("search", "router softmax margin", "--config", config).stdout
    assert shown.startswith("searxng: it answered with status 500")


def test_nothing_found_is_said(web: Lab) -> None:
    assert run("search", "zzzz qqqq", "-e", "searxng").stdout.splitlines()[-1] == "nothing found"


def test_a_run_is_recorded_and_replayed(web: Lab, tmp_path: Path) -> None:
    words = ("router softmax margin", "-e", "searxng")
    first = found(*words, "--record", tmp_path / "run.jsonl")
    asked = len(web.requests)
    assert found(*words, "--replay", tmp_path / "run.jsonl") == first
    assert len(web.requests) == asked
    assert "does not hold GET" in refusal(10, "search", "another", "-e", "searxng", "--replay", tmp_path / "run.jsonl")


def test_a_live_check_reports_on_each_engine(web: Lab, config: Path) -> None:
    outcome = run("search", "--live-check", "--config", config)
    assert outcome.code == 0, outcome
    assert [line.split("  ")[0] for line in outcome.stdout.splitlines()] == ["searxng", "searxng", "ddgs", "ddgs"]
    assert all(line.endswith("results") for line in outcome.stdout.splitlines())
    web.routes["/html/"] = answer("blocked", status="403 Forbidden")
    failed = run("search", "--live-check", "--config", config, "--json")
    assert failed.code == 10
    problems = {check["engine"]: check["problem"] for check in json.loads(failed.stdout)["checks"]}
    assert problems["searxng"] == ""
    assert "found nothing" in problems["ddgs"]
    assert "ddgs did not answer as it should" in failed.stderr


def test_if_nobody_answers_every_reason_is_told(web: Lab) -> None:
    web.routes["/search"] = answer("slow down", status="429 Too Many Requests", Retry_After="100")
    said = refusal(10, "search", "experts", "-e", "searxng")
    assert "SearchError: no search engine answered 'experts' (searxng: it answered with status 429" in said
    assert "left alone for 100.0 s" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give a query, or --live-check"),
        (["x", "--live-check"], "--live-check asks questions of its own"),
        (["x", "-e", "google"], "'google' is unknown; there are searxng, brave, tavily, ddgs and kb:NAME"),
        (["x", "-e", "brave"], "brave is not set up: give brave_key_file or BRAVE_API_KEY"),
        (["x", "-k", 0], "count=0 must be 1 to 50"),
        (["x", "--time-range", "decade"], "--time-range 'decade' must be one of day, week, month, year"),
        (["x", "--safety", "no"], "--safety 'no' must be one of"),
        (["x", "--record", "a", "--replay", "b"], "--record and --replay are one or the other"),
        ([" "], "is blank"),
        (["x", "--config", "gone.toml"], "gone.toml cannot be read"),
        (["x", "--replay", "gone.jsonl"], "record it first"),
    ],
)
def test_what_makes_no_sense_is_refused(web: Lab, words: list[object], message: str) -> None:
    assert message in refusal(2, "search", *words)


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    routes = {
        "/article": answer(page_of("Mixtures of experts", TEXT, TEXT + " Again.")),
        "/robots.txt": answer("User-agent: *\nDisallow: /private", type_="text/plain"),
        "/private": answer("secret"),
    }
    be_patient(monkeypatch, FetchOptions, "reading_timeout_s")
    with lab(routes) as running:
        yield running


def test_a_page_is_shown(site: Lab) -> None:
    url = site.url("/article", host="127.0.0.1")
    outcome = run("page", url, "--allow", site.address, "--timeout", 60)
    assert outcome.code == 0, outcome
    assert outcome.stdout.splitlines()[0] == "Mixtures of experts"
    assert f"{url} (text/html, utf-8, " in outcome.stdout
    assert TEXT in outcome.stdout
    value = json.loads(run("page", url, "--allow", site.address, "--timeout", 60, "--json").stdout)
    assert (value["title"], value["final_url"], len(value["sha256"])) == ("Mixtures of experts", url, 64)


def test_a_page_of_this_machine_is_refused(site: Lab) -> None:
    said = refusal(10, "page", site.url("/article", host="127.0.0.1"))
    assert "ForbiddenAddressError" in said
    assert f"port {site.port} is not one of 80, 443" in said
    assert "loopback" in refusal(10, "page", "http://127.0.0.1/")
    assert site.requests == []


def test_robots_txt_is_heeded(site: Lab) -> None:
    said = refusal(10, "page", site.url("/private", host="127.0.0.1"), "--allow", site.address, "--timeout", 60)
    assert "RobotsError" in said
    assert "/private" not in site.paths


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["http://127.0.0.1/", "--allow", "localhost"], "is not ADDRESS:PORT"),
        (["http://127.0.0.1/", "--timeout", 0], "timeout_s=0"),
    ],
)
def test_options_of_a_page_that_make_no_sense_are_refused(words: list[object], message: str) -> None:
    assert message in refusal(2, "page", *words)
