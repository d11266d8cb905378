"""Examples of grounded answers are word for word what a chain asks a served model, answered as the chain accepts it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from moesaic import v1
from moesaic.chains import RagChain, RagOptions
from moesaic.chains.rag_options import Judge, RagMode
from moesaic.errors import RecipeError
from moesaic.retrieval import Document, KnowledgeBase, ScriptedEmbedder
from moesaic.retrieval.gold_span import GoldSpan
from moesaic.training.tuning.conversation import Completion, Conversation, Role
from moesaic.training.tuning.grounded_question import GroundedQuestion
from moesaic.training.tuning.grounded_recipe import REFUSALS, GroundedOptions, ServedFormat, grounded_examples

TEXTS = {
    "pets": "The cat sleeps on the mat.\n\nDogs bark at night. A parrot lives for 60 years in the wild.",
    "install": "Install it with pip. Then start the server.\n\nThe server listens on port 8080 of this machine.",
    "宠物": "猫每天都睡在垫子上面。\n\n狗在夜里叫。鹦鹉能活六十年。",
}


class Overheard:
    """A client that notes what a chain really sends."""

    def __init__(self) -> None:
        self.chats: list[v1.ChatRequest] = []
        self.scores: list[v1.ScoreRequest] = []

    async def score(self, request: v1.ScoreRequest, **_: Any) -> v1.ScoreResponse:
        self.scores.append(request)
        return v1.ScoreResponse(scores=[v1.Score(tokens=[v1.TokenLogprob()]) for _ in request.continuations])

    async def chat(self, request: v1.ChatRequest, **_: Any) -> v1.ChatResponse:
        self.chats.append(request)
        return v1.ChatResponse(choices=[v1.ChatChoice(message=v1.ChatMessage(content="1"))])

    async def chat_stream(self, request: v1.ChatStreamRequest, **_: Any) -> Any:
        self.chats.append(request.request)
        yield v1.ChatStreamResponse(delta=v1.ChatDelta(text="Nothing of this kind."))

    async def aclose(self) -> None:
        """Nothing to give back."""


@pytest.fixture
def base(tmp_path: Path) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.create(tmp_path / "kb", embedder=ScriptedEmbedder(256)) as made:
        made.add([Document(id=name, title=name, text=text) for name, text in TEXTS.items()])
        yield made


def asked(text: str, document: str = "", quote: str = "", answer: str = "") -> GroundedQuestion:
    start = TEXTS[document].index(quote) if document else 0
    gold = (GoldSpan(document, start, start + len(quote)),) if document else ()
    return GroundedQuestion(text=text, gold=gold, answer=answer)


SERVER = asked("Which port does the server listen on?", "install", "port 8080")
NOBODY = asked("Who painted the ceiling of the chapel?")


def prompts(example: object) -> list[tuple[Role, str]]:
    assert isinstance(example, Conversation)
    return [(message.role, message.content) for message in example.messages[:-1]]


async def sent(base: KnowledgeBase, question: str, **options: Any) -> Overheard:
    client = Overheard()
    chain = RagChain(base=base, client=client, options=RagOptions(threshold=0.0, **options))
    await chain.ainvoke(question)
    return client


def overheard_prompts(request: v1.ChatRequest) -> list[tuple[Role, str]]:
    roles = {v1.Role.ROLE_SYSTEM: Role.SYSTEM, v1.Role.ROLE_USER: Role.USER}
    return [(roles[message.role], message.content) for message in request.messages]


@pytest.mark.parametrize(
    "question",
    [SERVER, asked("猫睡在哪里?", "宠物", "垫子上面"), asked("How long does a parrot live?", "pets", "60 years")],
)
def test_the_prompts_are_those_of_the_chain(base: KnowledgeBase, question: GroundedQuestion) -> None:
    import asyncio

    found = grounded_examples(base, [question])
    likelihood, choice, written = found.examples
    assert found.made == Counter(likelihood=1, choice=1, written=1)

    client = asyncio.run(sent(base, question.text, judge=Judge.LIKELIHOOD))
    texts = [continuation.text for continuation in client.scores[0].continuations]
    assert isinstance(likelihood, Completion)
    assert likelihood.prompt + likelihood.response in texts[1:]
    assert likelihood.response == texts[0]
    assert not likelihood.end
    (gold,) = question.gold
    assert TEXTS[gold.document][gold.start : gold.end] in likelihood.prompt

    client = asyncio.run(sent(base, question.text, judge=Judge.CHOICE))
    assert prompts(choice) == overheard_prompts(client.chats[0])
    client = asyncio.run(sent(base, question.text, judge=Judge.NONE, mode=RagMode.GENERATIVE))
    assert prompts(written) == overheard_prompts(client.chats[0])


def test_the_number_is_that_of_the_span_that_answers(base: KnowledgeBase) -> None:
    found = grounded_examples(base, [SERVER], GroundedOptions(formats=(ServedFormat.CHOICE,)))
    (choice,) = found.examples
    assert isinstance(choice, Conversation)
    listed = choice.messages[-2].content
    (line,) = (line for line in listed.splitlines() if "8080" in line)
    assert line.startswith(f"[{choice.messages[-1].content}] ")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "The server listens on port 8080 of this machine."),
        ("The server listens on port 8080.", "The server listens on port 8080."),
        ("8080", "The server listens on port 8080 of this machine."),
        ("The server listens on port 9090.", "The server listens on port 8080 of this machine."),
    ],
)
def test_an_answer_is_what_the_chain_would_keep(base: KnowledgeBase, answer: str, said: str) -> None:
    """Own words are taught if they pass the chain's own check; a number that no span has does not."""
    question = asked(SERVER.text, "install", "port 8080", answer)
    (example,) = grounded_examples(base, [question], GroundedOptions(formats=(ServedFormat.WRITTEN,))).examples
    assert isinstance(example, Conversation)
    assert example.messages[-1].content == said
    plain = GroundedOptions(formats=(ServedFormat.WRITTEN,), own_words=False)
    (example,) = grounded_examples(base, [question], plain).examples
    assert isinstance(example, Conversation)
    assert "of this machine" in example.messages[-1].content


@pytest.mark.parametrize(("text", "language"), [(NOBODY.text, "en"), ("教堂的壁画是谁画的?", "zh")])
def test_where_nothing_answers_a_refusal_is_taught_and_no_choice(base: KnowledgeBase, text: str, language: str) -> None:
    found = grounded_examples(base, [asked(text)])
    (example,) = found.examples
    assert isinstance(example, Conversation)
    assert example.messages[-1].content == REFUSALS[language]
    assert found.made == Counter(written=1, refused=1)


def test_a_span_that_was_not_found_teaches_nothing(base: KnowledgeBase) -> None:
    """The document is not in the base: guessing is not taught."""
    gone = GroundedQuestion(text="What colour is the sky?", gold=(GoldSpan("sky", 0, 5),))
    found = grounded_examples(base, [gone])
    assert found.examples == ()
    assert found.left_out == Counter({"no span that answers was found": 1})


def test_an_empty_base_teaches_nothing(tmp_path: Path) -> None:
    with KnowledgeBase.create(tmp_path / "kb", embedder=ScriptedEmbedder(64)) as empty:
        found = grounded_examples(empty, [NOBODY])
    assert found.left_out == Counter({"nothing was found": 1})


def test_too_far_down_is_counted(tmp_path: Path) -> None:
    """Spans that a chain would not show are no answer to what it asks."""
    paragraphs = "\n\n".join(f"Which server number {number} is it that listens here and there." for number in range(30))
    with KnowledgeBase.create(tmp_path / "kb", embedder=ScriptedEmbedder(256)) as made:
        made.add([Document(id="d", title="d", text=f"{paragraphs}\n\nMoles dig tunnels under the garden.")])
        text = made.text("d")
        start = text.index("Moles")
        question = GroundedQuestion(text="Which server is it that listens?", gold=(GoldSpan("d", start, len(text)),))
        found = grounded_examples(made, [question])
    assert set(found.made) <= {"likelihood"}
    assert found.left_out["the span that answers is too far down for a choice"] == 1
    assert found.left_out["the span that answers is too far down to be shown"] == 1


def test_unknown_formats_are_refused() -> None:
    for formats in ((), ("poem",)):
        with pytest.raises(RecipeError, match="must be some of likelihood, choice, written"):
            GroundedOptions(formats=formats)  # type: ignore[arg-type]
