"""Keys are sent and never shown."""

import logging
from pathlib import Path

import pytest

from moesaic.errors import InputError
from moesaic.tools.search import ApiKey

SECRET = "sk-0123456789"


def test_a_key_is_shown_by_where_it_comes_from() -> None:
    key = ApiKey(f" {SECRET}\n", source="BRAVE_API_KEY")
    assert key.reveal() == SECRET
    for shown in (repr(key), str(key), f"{key}", f"{[key]}", logging.Formatter().format(_record(key))):
        assert SECRET not in shown
        assert "BRAVE_API_KEY" in shown
    assert key.struck_from(f"bad key {SECRET}!") == "bad key [key]!"
    assert not hasattr(key, "__dict__")


def _record(key: ApiKey) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x", 1, "key %s %r", (key, key), None)


def test_a_key_is_found_in_a_file_or_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(SECRET + "\n")
    from_file = ApiKey.find("K", path, {"K": "other"})
    from_variable = ApiKey.find("K", None, {"K": SECRET})
    assert from_file is not None
    assert from_variable is not None
    assert (from_file.reveal(), from_file.source) == (SECRET, str(path))
    assert (from_variable.reveal(), from_variable.source) == (SECRET, "K")
    assert ApiKey.find("K", None, {}) is None
    assert ApiKey.find("K", None, {"K": "  "}) is None


@pytest.mark.parametrize("value", ["", " \n", "line\nbreak", "schlüssel", "密钥", "a\x00b"])
def test_what_no_header_may_hold_is_refused(value: str) -> None:
    with pytest.raises(InputError, match="blank or not printable ASCII") as caught:
        ApiKey(value, source="x")
    assert value.strip() == "" or value not in str(caught.value)


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"key file .* cannot be read"):
        ApiKey.find("K", tmp_path / "gone", {})
