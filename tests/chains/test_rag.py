"""`RagChain`, extractive: exact quotes, declining, both ways to call, and everything that can go wrong."""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.exceptions import ModelError
from langchain_core.runnables import RunnableLambda

from moesaic.chains import AnswerPart, CitedAnswer, RagChain, RagOptions
from moesaic.errors import (
    DeadlineExceededError,
    EmbedderMismatchError,
    EngineOverloadedError,
    InputError,
    ServiceError,
    UnavailableError,
)
from moesaic.retrieval import Document, KnowledgeBase, ScriptedEmbedder
from moesaic.server.engine import GenerateRequest, ScriptedEngine, ScriptedReply
from tests.chains.rag_scene import DOCUMENTS, asking, assert_exact, made_base
from tests.chains.served import served
from tests.client.waiting import until


@pytest.fixture
def base(tmp_path: Path) -> Iterator[KnowledgeBase]:
    with made_base(tmp_path / "kb") as made:
        yield made


def as_mapping(question: str) -> dict[str, str]:
    return {"question": question}


@pytest.mark.parametrize(
    ("question", "document", "quote"),
    [
        ("Where does the cat sleep?", "pets", "The cat sleeps on the mat."),
        ("Which port does the server listen on?", "install", "The server listens on port 8080."),
        ("猫睡在哪里?", "宠物", "猫睡在垫子上。"),
        (" \n Where does the cat sleep? ", "pets", "The cat sleeps on the mat."),
    ],
)
async def test_the_answer_is_the_best_span(base: KnowledgeBase, question: str, document: str, quote: str) -> None:
    async with asking(base, max_citations=1) as scene:
        answer = await scene.chain.ainvoke(question)
    assert answer.question == question.strip()
    assert answer.answer == quote
    assert not answer.declined
    (citation,) = answer.citations
    assert (citation.document, citation.quote, citation.support) == (document, quote, 1.0)
    assert (answer.model, answer.weight_version) == ("tiny", "w1")
    assert_exact(base, [answer])


async def test_the_answer_is_its_quotes_one_after_the_other(base: KnowledgeBase) -> None:
    async with asking(base, citation_share=0.0) as scene:
        answer = await scene.chain.ainvoke({"question": "Where does the cat sleep?"})
    assert len(answer.citations) == 3
    assert answer.answer == "\n\n".join(citation.quote for citation in answer.citations)
    for citation in answer.citations:
        assert answer.answer[citation.answer_start : citation.answer_end] == citation.quote
    assert_exact(base, [answer])


async def test_further_spans_are_cited_only_if_they_come_close(base: KnowledgeBase) -> None:
    async with asking(base, citation_share=1.0) as scene:
        answer = await scene.chain.ainvoke("Where does the cat sleep?")
    assert len(answer.citations) == 1


async def test_a_stream_gives_text_then_its_citation_and_at_last_the_answer(base: KnowledgeBase) -> None:
    async with asking(base, citation_share=0.0) as scene:
        parts = [part async for part in scene.chain.astream("Where does the cat sleep?")]
        answer = await scene.chain.ainvoke("Where does the cat sleep?")
    *others, last = parts
    assert last.answer == answer
    assert [part.answer for part in others] == [None] * len(others)
    assert [bool(part.citations) for part in others] == [False, True] * 3
    total = AnswerPart()
    for part in parts:
        total += part
    assert (total.text, total.citations, total.answer) == (answer.answer, answer.citations, answer)


async def test_a_question_is_declined_below_the_threshold_and_the_model_says_nothing(base: KnowledgeBase) -> None:
    async with asking(base, threshold=1.0, mode="generative") as scene:
        parts = [part async for part in scene.chain.astream("What does a flight to the moon cost?")]
    (part,) = parts
    assert part.answer is not None
    assert part.answer.declined
    assert (part.answer.answer, part.answer.citations, part.text) == ("", (), "")
    assert 0 < part.answer.score < 0.5
    assert scene.engine.requests == []


async def test_what_the_base_says_scores_higher_than_what_it_does_not(base: KnowledgeBase) -> None:
    async with asking(base) as scene:
        asked = ["Where does the cat sleep?", "Do dogs bark at night?", "猫睡在垫子上吗?"]
        known = [(await scene.chain.ainvoke(question)).score for question in asked]
        foreign = ["Who won the football match?", "How do I bake bread?", "怎样烤面包?"]
        unknown = [(await scene.chain.ainvoke(question)).score for question in foreign]
    assert min(known) > max(unknown)


async def test_an_empty_base_declines_everything(tmp_path: Path) -> None:
    with KnowledgeBase.create(tmp_path / "empty", embedder=ScriptedEmbedder()) as empty:
        async with asking(empty) as scene:
            answer = await scene.chain.ainvoke("Is anything here?")
    assert (answer.declined, answer.score, answer.answer) == (True, 0.0, "")


async def test_passages_without_a_word_are_declined(tmp_path: Path) -> None:
    with made_base(tmp_path / "kb", {"signs": "---- ==== ----"}) as signs:
        async with asking(signs) as scene:
            assert (await scene.chain.ainvoke("What is this?")).declined


async def test_spans_at_the_edges_of_a_document(tmp_path: Path) -> None:
    text = "Alpha begins the text.\n\nMiddle of it.\n\nOmega ends the text"
    with made_base(tmp_path / "kb", {"edges": text}) as edges:
        async with asking(edges, max_citations=1) as scene:
            first = await scene.chain.ainvoke("What about Alpha?")
            last = await scene.chain.ainvoke("What about Omega?")
        assert_exact(edges, [first, last])
    assert first.citations[0].start == 0
    assert last.citations[0].end == len(text)


async def test_quotes_longer_than_allowed_are_cut(tmp_path: Path) -> None:
    long = "The whale " + "swims and " * 100 + "sleeps."
    with made_base(tmp_path / "kb", {"long": long, "长": "鲸鱼在海里游来游去" * 80}) as base:
        async with asking(base, citation_share=0.0) as scene:
            answers = [await scene.chain.ainvoke(question) for question in ("What of the whale?", "鲸鱼在海里做什么?")]
        assert assert_exact(base, answers) == 6


@settings(max_examples=15)
@given(
    st.lists(
        st.text(st.sampled_from("ab cd。，.\n!猫狗-#：\U0001f600"), min_size=1, max_size=400), min_size=1, max_size=3
    ),
    st.sampled_from(["ab?", "猫 cd", "#", "abcd 狗。"]),
)
def test_every_citation_is_exact_whatever_the_documents_are(texts: list[str], question: str) -> None:
    documents = [Document(id=f"d{n}", title="d", text=text) for n, text in enumerate(texts) if text.strip()]

    async def ask(base: KnowledgeBase) -> CitedAnswer:
        async with asking(base, citation_share=0.0) as scene:
            return await scene.chain.ainvoke(question)

    with (
        tempfile.TemporaryDirectory() as folder,
        KnowledgeBase.create(Path(folder) / "kb", embedder=ScriptedEmbedder()) as base,
    ):
        base.add(documents)
        answer = asyncio.run(ask(base))
        assert assert_exact(base, [answer]) == len(answer.citations)
    assert answer.declined == (not answer.citations)


async def test_the_model_points_at_a_span_and_can_do_nothing_else(base: KnowledgeBase) -> None:
    engine = ScriptedEngine(["2"])
    async with asking(base, engine, judge="choice", max_citations=1) as scene:
        second = await scene.chain.ainvoke("Where does the cat sleep?")
    constraint = engine.requests[0].sampling.constraint
    assert constraint is not None
    assert constraint.value[:3] == ("1", "2", "3")
    async with asking(base, judge="none", max_citations=10, citation_share=0.0) as scene:
        plain = await scene.chain.ainvoke("Where does the cat sleep?")
    assert second.citations[0].quote == plain.citations[1].quote
    assert (plain.model, scene.engine.requests) == ("", [])


async def test_a_server_that_does_not_keep_to_the_list_is_named(base: KnowledgeBase) -> None:
    async with asking(base, ScriptedEngine(["99"]), judge="choice") as scene:
        with pytest.raises(ServiceError, match="'99', which was none of 1 to"):
            await scene.chain.ainvoke("Where does the cat sleep?")


def test_it_works_without_an_event_loop(base: KnowledgeBase) -> None:
    with served(ScriptedEngine()) as target:
        chain = RagChain(base=base, target=target, options=RagOptions(threshold=0.0))
        answer = chain.invoke("Where does the cat sleep?")
        parts = list(chain.stream("Where does the cat sleep?"))
        left = chain.stream("Where does the cat sleep?")
        assert next(left).text
        left.close()
        answers = chain.batch(["Where does the cat sleep?", "Which port?"])
        piped = (RunnableLambda(as_mapping) | chain).invoke("Where does the cat sleep?")
    assert parts[-1].answer == answer == answers[0] == piped
    assert_exact(base, [answer, *(each for each in answers if isinstance(each, CitedAnswer))])


async def test_other_threads_use_the_loop_of_the_client(base: KnowledgeBase) -> None:
    async with asking(base) as scene:
        here = await scene.chain.ainvoke("Where does the cat sleep?")
        there = await asyncio.to_thread(scene.chain.invoke, "Where does the cat sleep?")
        assert here == there
        with pytest.raises(InputError, match="use ainvoke or astream"):
            scene.chain.invoke("Where does the cat sleep?")


@pytest.mark.parametrize(
    ("question", "reason"),
    [
        ("", "blank"),
        (" \n\t", "blank"),
        ("why " * 300, "1199 characters, at most 1000"),
        ("half \ud800 of it", "not text in UTF-8"),
        ({"ask": "where?"}, "is no question"),
        ({"question": 7}, "is no question"),
    ],
)
async def test_what_is_no_question_is_refused(base: KnowledgeBase, question: str, reason: str) -> None:
    async with asking(base) as scene:
        with pytest.raises(InputError, match=reason):
            await scene.chain.ainvoke(question)


async def test_a_nul_in_a_question_is_a_blank(base: KnowledgeBase) -> None:
    async with asking(base, max_citations=1) as scene:
        assert (await scene.chain.ainvoke("Where does the\0cat sleep?")).answer == "The cat sleeps on the mat."


async def test_a_busy_engine_and_a_dead_one_are_no_answers(base: KnowledgeBase) -> None:
    async with asking(base, ScriptedEngine()) as scene:
        scene.engine.die()
        with pytest.raises(UnavailableError) as failed:
            await scene.chain.ainvoke("Where does the cat sleep?")
        assert isinstance(failed.value, ModelError)

    slow = ScriptedEngine(lambda request: ScriptedReply(text="1", delay_s=600), max_running=1, max_waiting=0)
    async with asking(base, slow, judge="choice") as scene:
        first = asyncio.ensure_future(scene.chain.ainvoke("Where does the cat sleep?"))
        await until(lambda: slow.load().running == 1)
        with pytest.raises(EngineOverloadedError):
            await scene.chain.ainvoke("Where does the cat sleep?")
        first.cancel()
        await asyncio.wait([first])
        await until(lambda: slow.load().running == 0)


async def test_one_deadline_covers_all_steps(base: KnowledgeBase) -> None:
    def slow(request: GenerateRequest) -> ScriptedReply:
        return ScriptedReply(text="1", delay_s=600)

    async with asking(base, ScriptedEngine(slow), judge="choice", timeout_s=0.5) as scene:
        with pytest.raises(DeadlineExceededError):
            await scene.chain.ainvoke("Where does the cat sleep?")
        await until(lambda: scene.engine.load().running == 0)
    async with asking(base, timeout_s=1e-9) as scene:
        with pytest.raises(DeadlineExceededError, match="1e-09 s; allow more time"):
            await scene.chain.ainvoke("Where does the cat sleep?")


async def test_a_base_with_another_embedder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_base(tmp_path / "kb").close()
    with KnowledgeBase.open(tmp_path / "kb") as base:
        monkeypatch.setattr(
            "moesaic.retrieval.knowledge_base.load_embedder", lambda name: ScriptedEmbedder(dimension=8)
        )
        async with asking(base) as scene:
            with pytest.raises(EmbedderMismatchError):
                await scene.chain.ainvoke("Where does the cat sleep?")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"mode": "poetic"}, "mode='poetic' must be one of extractive, generative"),
        ({"judge": "jury"}, "judge='jury' must be one of"),
        ({"passages": 0}, "passages=0 must be 1 to 100"),
        ({"threshold": 1.5}, "threshold=1.5 must be 0 to 1"),
        ({"max_citations": 11}, "max_citations=11"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        RagOptions(**options)  # type: ignore[arg-type]


async def test_answers_become_json(base: KnowledgeBase) -> None:
    async with asking(base, max_citations=1) as scene:
        value = (await scene.chain.ainvoke("Where does the cat sleep?")).to_json()
    assert value["citations"][0]["quote"] == "The cat sleeps on the mat."
    assert value["dropped"] == []
    assert set(DOCUMENTS) >= {citation["document"] for citation in value["citations"]}


async def test_many_questions_at_once(base: KnowledgeBase) -> None:
    async with asking(base, max_citations=1) as scene:
        answers = await asyncio.gather(
            *(scene.chain.ainvoke(question) for question in ["Where does the cat sleep?", "猫睡在哪里?"] * 4)
        )
    assert [answer.answer for answer in answers] == ["The cat sleeps on the mat.", "猫睡在垫子上。"] * 4
