"""Texts that hold a run of an evaluation text are told from those that do not."""

import random

import pytest

from moesaic.errors import CorpusError
from moesaic.training.data.decontamination import CHARACTERS, WORDS, EvaluationTexts
from tests.training.data.text_samples import random_chinese, random_words

GENERATOR = random.Random(0)
QUESTION = random_words(GENERATOR, 40)
CHINESE_QUESTION = random_chinese(GENERATOR, 60)
AROUND = random_words(GENERATOR, 200)


def evaluation(*texts: str) -> EvaluationTexts:
    return EvaluationTexts(texts or (" ".join(QUESTION), "".join(CHINESE_QUESTION)))


@pytest.mark.parametrize(("size", "shared"), [(WORDS - 1, 0), (WORDS, 1), (WORDS + 3, 4)])
def test_thirteen_words_are_enough(size: int, shared: int) -> None:
    text = " ".join([*AROUND[:50], *QUESTION[7 : 7 + size], *AROUND[50:]])
    assert evaluation().shared_runs(text) == shared


@pytest.mark.parametrize(("size", "shared"), [(CHARACTERS - 1, 0), (CHARACTERS, 1), (CHARACTERS + 2, 3)])
def test_twenty_four_chinese_characters_are_enough(size: int, shared: int) -> None:
    around = "".join(random_chinese(random.Random(1), 80))
    assert evaluation().shared_runs(around + "".join(CHINESE_QUESTION[5 : 5 + size]) + around) == shared


def test_case_and_punctuation_do_not_hide_a_run() -> None:
    text = "; ".join(word.upper() for word in QUESTION)
    assert evaluation().shared_runs(text) == len(QUESTION) - WORDS + 1


def test_a_short_evaluation_text_is_looked_for_whole() -> None:
    found = evaluation(" ".join(QUESTION[:9]), "too short to tell")
    assert found.shared_runs(" ".join(AROUND[:30] + QUESTION[:9] + AROUND[30:])) == 1
    assert found.shared_runs(" ".join(AROUND[:30] + QUESTION[:8] + AROUND[30:])) == 0
    assert found.to_json() == {"texts": 2, "too_short": 1, "runs": {"9": 1}}


def test_other_texts_share_nothing() -> None:
    assert evaluation().shared_runs(" ".join(AROUND)) == 0
    assert evaluation().shared_runs("") == 0


def test_without_usable_texts_it_is_refused() -> None:
    with pytest.raises(CorpusError, match="none of the 2 evaluation texts"):
        evaluation("too short", "")
