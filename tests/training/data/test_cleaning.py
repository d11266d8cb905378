"""Each rule removes what breaks it and keeps the rest, in English and Chinese, and says how often."""

import random
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import RecipeError
from moesaic.training.data.cleaning import CleanOptions, CleanReport, cleaned
from moesaic.training.data.cleaning_rules import RULES
from moesaic.training.data.normal_form import normal_form
from moesaic.training.data.text_document import TextDocument
from moesaic.training.data.text_facts import TextFacts, language_of
from tests.training.data.text_samples import CHINESE, ENGLISH

GENERATOR = random.Random(0)
LISTING = "planet gardens yellow windows carry seven mountain letters singing travel morning evening simple"
ENGLISH_WORDS = LISTING.split()
LISTED = "\n".join(f"- The {word} of the house and that door are with us, have a look." for word in ENGLISH_WORDS * 2)


def clean_one(text: str, **options: object) -> tuple[list[str], CleanReport]:
    report = CleanReport()
    found = list(cleaned([TextDocument(id="x", text=text)], CleanOptions(**options), report))  # type: ignore[arg-type]
    return [document.text for document in found], report


@pytest.mark.parametrize("text", [ENGLISH, CHINESE])
def test_ordinary_texts_stay(text: str) -> None:
    kept, report = clean_one(text)
    assert kept == [text]
    assert report.rules == {}


def distinct_words(count: int) -> str:
    return " ".join(
        f"{GENERATOR.choice(ENGLISH_WORDS)}{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}" for n in range(count)
    )


BREAKING = [
    ("words", "The end of the story is near, and that is all."),
    ("mean_word_length", ENGLISH + " " + " ".join(f"internationalization{n}" * 3 for n in range(60)) + "."),
    ("symbols_per_word", ENGLISH + " #a #b #c #d #e #f #g #h #i #j."),
    ("words_with_letters", ENGLISH + " " + " ".join(str(n * 7919) for n in range(40)) + "."),
    ("stop_words", f"{distinct_words(80)} in a is it for on as by."),
    (
        "short_lines",
        "\n".join(f"The {w} of a {v}." for w, v in pairwise(ENGLISH_WORDS)) * 2,
    ),
    ("lines_per_word", "\n".join(f"the {word} of" for word in ENGLISH_WORDS * 2)),
    ("characters", "今天天气很好。"),
    ("digit_share", CHINESE[:60] + "。" + " ".join(str(n * 7919) for n in range(20))),
    ("symbol_share", CHINESE + " ".join(f"http://a{n}.cn/x" for n in range(12))),
    ("bullet_lines", LISTED),
    (
        "ellipsis_lines",
        "\n".join(f"{line[:40]} and {n}..." for n, line in enumerate([ENGLISH] * 1 + LISTED.split("\n"))),
    ),
    ("ended_lines", ENGLISH.replace(".", "").replace(",", "") + " and so on"),
    ("ended_lines", CHINESE.replace("。", "").replace("，", "")),
    ("replaced_characters", ENGLISH + " \ufffd\ufffd\ufffd"),
    ("duplicate_lines", "\n".join([ENGLISH.replace("\n\n", " "), *["The same of it, and that."] * 4])),
    ("duplicate_line_characters", "\n".join([ENGLISH.split("\n\n")[0]] * 2)),
    ("duplicate_paragraphs", "\n\n".join([ENGLISH, *["The same of it, and that."] * 4])),
    ("duplicate_paragraph_characters", "\n\n".join([CHINESE] * 2)),
    ("top_2_gram", ENGLISH + " " + "spam mail, " * 60 + "end."),
    ("top_3_gram", ENGLISH + " " + "cheap spam mail, " * 40 + "end."),
    ("top_4_gram", CHINESE + "点播电视节目。" * 30),
    *((f"duplicate_{size}_grams", ENGLISH + " " + ENGLISH.replace("\n\n", " ")) for size in range(5, 11)),
    ("duplicate_5_grams", CHINESE + CHINESE.replace("\n\n", "")),
]


@pytest.mark.parametrize(("rule", "text"), BREAKING, ids=[f"{rule}-{n}" for n, (rule, _) in enumerate(BREAKING)])
def test_a_broken_rule_removes_the_text_and_is_counted(rule: str, text: str) -> None:
    kept, report = clean_one(text)
    assert kept == []
    assert report.rules[rule].removed == 1
    assert report.rules[rule].examples[0]["id"] == "x"
    assert report.rules[rule].examples[0]["text"] == text[:160]


def test_every_rule_has_a_text_that_breaks_it() -> None:
    covered = {rule for rule, _ in BREAKING}
    # A text that is Chinese at all has the share of Chinese characters of letters; of all characters it may be less.
    kept, report = clean_one("系统默认" + "!" * 2 + "安装." * 3 + "-" * 60 + "。" + "。\n。\n")
    assert kept == []
    assert "han_share" in report.rules
    assert {rule.name for rule in RULES} == covered | {"han_share"}


def test_alone_counts_texts_that_only_one_rule_removes() -> None:
    _, report = clean_one(ENGLISH + " \ufffd\ufffd\ufffd")
    assert (report.rules["replaced_characters"].removed, report.rules["replaced_characters"].alone) == (1, 1)
    _, report = clean_one("the the the \ufffd")
    assert report.rules["words"].alone == 0


def test_rules_can_be_switched_off_and_their_limits_moved() -> None:
    text = "The end of the story is near, and that is all."
    assert clean_one(text, disabled=("words",))[0] == [text]
    assert clean_one(text, limits={"words": (5, None)})[0] == [text]
    assert clean_one(ENGLISH, limits={"words": (None, 10)})[0] == []


def test_languages() -> None:
    japanese = "これは日本語の文章です。漢字とひらがなとカタカナを使います。"
    french = "Le comité s'est réuni mardi pour discuter du budget de l'année prochaine avec le maire."
    assert [language_of(text) for text in (ENGLISH, CHINESE, japanese, french, "", "12345")] == [
        "en", "zh", "other", "other", "other", "other",
    ]  # fmt: skip
    assert language_of("使用 Python 安装软件包 requests 和它的全部依赖") == "zh"
    assert clean_one(french)[1].rules["language"].examples[0]["value"] == "other"
    assert clean_one(CHINESE, languages=("en",))[0] == []
    assert clean_one(french, languages=("other",))[0] == [french]


def test_boilerplate_lines_go_and_the_text_stays() -> None:
    text = f"{ENGLISH}\nPlease read our cookie policy.\n{CHINESE[:0]}"
    kept, report = clean_one(text)
    assert kept == [ENGLISH]
    assert report.rules["boilerplate_lines"].examples[0]["text"] == "Please read our cookie policy."
    kept, _ = clean_one(f"{CHINESE}\n版权所有 未经许可不得转载")
    assert kept == [CHINESE]
    for line in ("本文未经作者授权不得转载。", "责任编辑：张三", "关注我们的微信公众号"):
        assert clean_one(f"{CHINESE}\n{line}")[0] == [CHINESE]
    for line in ("未经批准、授权擅自处置涉案材料的，依法处分。", "有责任编辑、审核和发布信息的人员应当登记。"):
        assert clean_one(f"{CHINESE}\n{line}")[0] == [f"{CHINESE}\n{line}"]
    assert clean_one(text, boilerplate=False)[0] == [text.strip()]
    long = ENGLISH.replace("\n\n", " ") + " They discussed the cookie policy too."
    assert clean_one(long)[0] == [long]


def test_the_report_counts() -> None:
    report = CleanReport()
    documents = [
        TextDocument(id="a", text=ENGLISH),
        TextDocument(id="b", text=CHINESE, broken=2),
        TextDocument(id="c", text="short of it and that is the end"),
        TextDocument(id="d", text=" \n\u200b"),
    ]
    assert [document.id for document in cleaned(documents, CleanOptions(), report)] == ["a", "b"]
    value = report.to_json()
    assert (value["documents"], value["kept"], value["broken_documents"], value["broken_places"]) == (4, 2, 1, 2)
    assert value["kept_characters"] == len(ENGLISH) + len(CHINESE)
    assert value["languages"] == {"en": 2, "zh": 1, "other": 1}
    assert value["rules"]["empty"]["removed"] == 1


def test_only_the_first_examples_are_kept() -> None:
    report = CleanReport()
    list(cleaned([TextDocument(id=str(n), text="the end of it") for n in range(9)], CleanOptions(), report))
    assert report.rules["words"].removed == 9
    assert [example["id"] for example in report.rules["words"].examples] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"languages": ("de",)}, "'de' is unknown; known are en, zh, other"),
        ({"languages": ()}, "leaves no text"),
        ({"disabled": ("word",)}, "'word' is unknown"),
        ({"limits": {"nothing": (0, 1)}}, "'nothing' is unknown"),
        ({"limits": {"words": (2, 1)}}, r"limits.words=\(2, 1\)"),
        ({"limits": {"words": (1,)}}, "limits.words"),
        ({"limits": {"words": (float("nan"), None)}}, "limits.words"),
    ],
)
def test_options_that_mean_nothing_are_refused(options: dict[str, object], fault: str) -> None:
    with pytest.raises(RecipeError, match=fault):
        CleanOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("a  \t\n\n\n\nb\n", "a\n\nb"),
        ("ＡＢＣ　１２３", "ABC 123"),
        ("你好，世界！（测试）……", "你好，世界！（测试）……"),
        ("x² ½ ™", "x² ½ ™"),
        ("e\u0301\u00a0ﬁn", "é fin"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("    indented", "indented"),
        ("a\n    indented", "a\n    indented"),
        ("half\ud800surrogate", "halfsurrogate"),
    ],
)
def test_normal_form(given: str, expected: str) -> None:
    assert normal_form(given) == expected


@given(st.text())
def test_normal_form_is_stable_and_composed(text: str) -> None:
    once = normal_form(text)
    assert normal_form(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text(alphabet="ab \n.,。是的", max_size=300))
def test_shares_lie_between_none_and_all(text: str) -> None:
    facts = TextFacts(normal_form(text))
    for rule in RULES:
        if rule.name.startswith(("duplicate", "top", "ended", "bullet", "short", "han", "digit")):
            assert 0 <= rule.measure(facts) <= 1
