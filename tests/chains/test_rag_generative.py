"""`RagChain`, generative: every sentence tied to a span and checked before it is given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moesaic.chains import CitedAnswer
from moesaic.chains.evidence import Evidence
from moesaic.chains.sentence_support import best_support
from moesaic.errors import EngineDeadError, ServiceError, UnavailableError
from moesaic.retrieval import KnowledgeBase
from moesaic.server.engine import ScriptedEngine, ScriptedReply
from tests.chains.rag_scene import asking, assert_exact, made_base
from tests.chains.scripted_model import prompt_of


@pytest.fixture
def base(tmp_path: Path) -> Iterator[KnowledgeBase]:
    with made_base(tmp_path / "kb") as made:
        yield made


async def written(base: KnowledgeBase, reply: str, question: str = "Where does the cat sleep?") -> CitedAnswer:
    async with asking(base, ScriptedEngine([reply]), mode="generative") as scene:
        answer = await scene.chain.ainvoke(question)
    assert_exact(base, [answer])
    return answer


async def test_each_sentence_is_tied_to_the_span_that_supports_it(base: KnowledgeBase) -> None:
    answer = await written(base, "The cat sleeps on the mat. The server listens on port 8080.")
    first, second = answer.citations
    assert answer.answer == "The cat sleeps on the mat. The server listens on port 8080."
    assert answer.answer[first.answer_start : first.answer_end] == "The cat sleeps on the mat."
    assert answer.answer[second.answer_start : second.answer_end] == "The server listens on port 8080."
    assert (first.document, second.document) == ("pets", "install")
    assert min(first.support, second.support) > 0.9
    assert (answer.model, answer.weight_version) == ("tiny", "w1")


async def test_what_no_span_bears_out_is_dropped(base: KnowledgeBase) -> None:
    answer = await written(base, "Lions hunt zebras across the wide savannah. The cat sleeps on the mat.")
    assert answer.answer == "The cat sleeps on the mat."
    assert answer.dropped == ("Lions hunt zebras across the wide savannah.",)


async def test_a_figure_that_the_span_lacks_ends_its_support(base: KnowledgeBase) -> None:
    answer = await written(base, "A parrot lives for 80 years. The cat sleeps on the mat.")
    assert answer.dropped == ("A parrot lives for 80 years.",)
    assert (await written(base, "A parrot lives for 60 years.")).citations[0].document == "pets"


@pytest.mark.parametrize("reply", ["Lions hunt zebras across the savannah.", "", " \n", "... !"])
async def test_an_answer_without_support_is_declined(base: KnowledgeBase, reply: str) -> None:
    answer = await written(base, reply)
    assert answer.declined
    assert (answer.answer, answer.citations) == ("", ())


async def test_marks_of_the_model_go_and_so_do_repetitions(base: KnowledgeBase) -> None:
    answer = await written(base, "The cat sleeps on the mat [1]. The cat sleeps on the mat. Dogs bark at night【2】.")
    assert answer.answer == "The cat sleeps on the mat. Dogs bark at night."


async def test_chinese_sentences_follow_each_other_without_a_blank(base: KnowledgeBase) -> None:
    answer = await written(base, "猫睡在垫子上。狗在夜里叫。", "猫睡在哪里?")
    assert answer.answer == "猫睡在垫子上。狗在夜里叫。"
    assert {citation.document for citation in answer.citations} == {"宠物"}


async def test_a_sentence_is_given_while_the_next_one_is_written(base: KnowledgeBase) -> None:
    reply = ScriptedReply(text="The cat sleeps on the mat. Dogs bark at night.", token_delay_s=0.005)
    async with asking(base, ScriptedEngine([reply]), mode="generative") as scene:
        parts = scene.chain.astream("Where does the cat sleep?")
        running = [(part.text, scene.engine.load().running) async for part in parts]
    assert ("The cat sleeps on the mat.", 1) in running
    assert (" Dogs bark at night.", 0) in running


async def test_leaving_the_stream_ends_the_computation(base: KnowledgeBase) -> None:
    reply = ScriptedReply(text="The cat sleeps on the mat. " + "Dogs bark at night. " * 100, token_delay_s=0.01)
    async with asking(base, ScriptedEngine([reply]), mode="generative") as scene:
        parts = scene.chain.astream("Where does the cat sleep?")
        assert (await anext(parts)).text == "The cat sleeps on the mat."
        await parts.aclose()
        assert scene.engine.load().running == 0


async def test_an_engine_that_dies_while_it_writes_is_no_answer(base: KnowledgeBase) -> None:
    reply = ScriptedReply(text="The cat sleeps on the mat. Dogs bark.", dies_after=30)
    async with asking(base, ScriptedEngine([reply]), mode="generative") as scene:
        parts = scene.chain.astream("Where does the cat sleep?")
        assert (await anext(parts)).answer is None
        assert (await anext(parts)).answer is None
        with pytest.raises((EngineDeadError, UnavailableError, ServiceError)):
            await anext(parts)


async def test_the_prompt_has_the_passages_the_question_and_no_more_than_was_asked_for(base: KnowledgeBase) -> None:
    async with asking(base, ScriptedEngine(["猫。"]), mode="generative", max_tokens=5) as scene:
        await scene.chain.ainvoke("Where does the cat sleep?")
    (request,) = scene.engine.requests
    assert "[1] The cat sleeps on the mat.\n[2] " in prompt_of(request)
    assert "Question: Where does the cat sleep?" in prompt_of(request)
    assert (request.sampling.max_tokens, request.sampling.temperature) == (5, 0.0)


def test_nothing_supports_what_has_no_words(base: KnowledgeBase) -> None:
    evidence = Evidence.gather(base, "Where does the cat sleep?", 8)
    assert best_support(base, evidence, "……。") is None
    found = best_support(base, evidence, "A dog barks at night.")
    assert found is not None
    assert found.span.document == "pets"
