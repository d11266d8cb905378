"""Headings and the sections that they open."""

import itertools

import pytest
from hypothesis import given

from moesaic.retrieval.outline import markdown_headings, sections_of, underlined_headings
from tests.retrieval.documents import markdown_texts


def outline(text: str) -> list[tuple[tuple[str, ...], str]]:
    """Heading path and text of each section of a Markdown text."""
    return [
        (section.heading_path, text[section.start : section.end].strip())
        for section in sections_of(text, markdown_headings(text))
    ]


def test_sections_follow_the_headings() -> None:
    text = "Before.\n\n# One\n\nText.\n\n## Deep\n\nMore.\n\n# Two\n\nEnd."
    assert outline(text) == [
        ((), "Before."),
        (("One",), "# One\n\nText."),
        (("One", "Deep"), "## Deep\n\nMore."),
        (("Two",), "# Two\n\nEnd."),
    ]


def test_a_heading_without_text_belongs_to_the_deeper_one_below() -> None:
    assert outline("# One\n\n## Deep\n\n### Deeper\n\nText.\n\n# Two\n\n# Three\n\nEnd.") == [
        (("One", "Deep", "Deeper"), "# One\n\n## Deep\n\n### Deeper\n\nText."),
        (("Two",), "# Two"),
        (("Three",), "# Three\n\nEnd."),
    ]


@pytest.mark.parametrize("fence", ["```", "~~~~"])
def test_code_has_no_headings(fence: str) -> None:
    assert [heading.text for heading in markdown_headings(f"# Yes\n\n{fence}sh\n# no\n{fence}\n\n# Also ##")] == [
        "Yes",
        "Also",
    ]


def test_an_open_fence_reaches_to_the_end() -> None:
    assert [heading.text for heading in markdown_headings("# Yes\n```\n# no\n")] == ["Yes"]


def test_markup_is_no_part_of_a_heading() -> None:
    assert [heading.text for heading in markdown_headings("# The `async for` [guide](x.md)\n\n# **Bold** 标题")] == [
        "The async for guide",
        "Bold 标题",
    ]


def test_underlined_headings_of_markdown() -> None:
    found = markdown_headings("One\n===\n\nTwo\n---\n\n- item\n---\n\ntext\n\n---\n")
    assert [(heading.level, heading.text) for heading in found] == [(1, "One"), (2, "Two")]


def test_underlined_headings_rank_by_first_appearance() -> None:
    text = "Book\n****\n\nPart\n====\n\nText.\n\nNext\n****\n\nToo short\n===\n\n==========\n"
    assert [(heading.level, heading.text) for heading in underlined_headings(text)] == [
        (1, "Book"),
        (2, "Part"),
        (1, "Next"),
    ]


def test_white_space_before_the_first_heading_is_no_section() -> None:
    assert len(sections_of("\n\n# One\n\nText.", markdown_headings("\n\n# One\n\nText."))) == 1


@given(markdown_texts)
def test_sections_tile_the_text(text: str) -> None:
    for headings in (markdown_headings(text), underlined_headings(text)):
        sections = sections_of(text, headings)
        assert sections[0].start == 0
        assert sections[-1].end == len(text)
        assert all(left.end == right.start for left, right in itertools.pairwise(sections))
        assert all(section.start < section.end for section in sections)
