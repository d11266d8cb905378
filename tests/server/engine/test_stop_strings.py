"""Stop strings are found however the text is cut into pieces."""

from hypothesis import given
from hypothesis import strategies as st

from moesaic.server.engine.stop_strings import StopStrings

_LETTERS = st.sampled_from("ab停")
_TEXTS = st.text(_LETTERS, max_size=30)
_STOPS = st.lists(st.text(_LETTERS, min_size=1, max_size=4), max_size=3)


def write(stops: list[str], pieces: list[str]) -> tuple[list[str], bool]:
    """What is released for each piece, and whether a stop string ended it."""
    found = StopStrings(stops)
    released = []
    for piece in pieces:
        text, stopped = found.push(piece)
        released.append(text)
        if stopped:
            return released, True
    return [*released, found.flush()], False


@given(_STOPS, _TEXTS)
def test_character_by_character_the_earliest_end_counts(stops: list[str], text: str) -> None:
    released, stopped = write(stops, list(text))
    ends = [text.index(stop) + len(stop) for stop in stops if stop in text]
    assert stopped == bool(ends)
    if not ends:
        assert "".join(released) == text
        return

    begins = [text[: min(ends)].index(stop) for stop in stops if stop in text[: min(ends)]]
    assert "".join(released) == text[: min(begins)]


@given(_STOPS, st.lists(_TEXTS, max_size=6))
def test_no_stop_string_is_ever_shown(stops: list[str], pieces: list[str]) -> None:
    released, stopped = write(stops, pieces)
    shown, whole = "".join(released), "".join(pieces)
    assert whole.startswith(shown)
    assert not any(stop in shown for stop in stops)
    assert stopped == any(stop in whole for stop in stops)


@given(_TEXTS)
def test_text_that_cannot_begin_a_stop_string_is_not_held_back(text: str) -> None:
    found = StopStrings(["#end", "##"])
    assert found.push(text) == (text, False)
    assert found.push("x#") == ("x", False)
    assert found.push("e") == ("", False)
    assert found.push("x") == ("#ex", False)
