"""From the bytes of a page to the text that a reader sees."""

import asyncio
import re
import threading
from typing import NamedTuple

from moesaic.errors import UnreadablePageError
from moesaic.tools.page.charset import decode_page
from moesaic.tools.page.fetch_options import FetchOptions
from moesaic.tools.page.media_type import MediaType
from moesaic.tools.page.reading_process import ReadingProcess

__all__ = ["PageText", "SaidByPage"]

_LINE_ENDS = re.compile(r"\r\n?|\x85|\u2028|\u2029")
_DIRT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
_BLANK_LINES = re.compile(r"\n{3,}")
_REPLACED_SHARE = 0.1


class SaidByPage(NamedTuple):
    """What a page says, and the encoding it says it in."""

    title: str
    text: str
    published: str
    truncated: bool
    charset: str


class PageText:
    """Reads pages; holds the process that takes HTML apart."""

    def __init__(self, options: FetchOptions) -> None:
        self._characters = options.text_characters
        self._process = ReadingProcess()

    async def read(self, body: bytes, media_type: MediaType, *, url: str, timeout_s: float) -> SaidByPage:
        """The text of a page.

        Raises:
            PageLimitError: it takes longer than `timeout_s` to take apart.
            UnreadablePageError: it is no text in any encoding, or breaks the parser.
        """
        is_markup = media_type.is_html or media_type.name.endswith("xml")
        text, charset = await asyncio.to_thread(decode_page, body, label=media_type.charset, is_markup=is_markup)
        if text.count("\ufffd") > _REPLACED_SHARE * len(text):
            raise UnreadablePageError(f"{url!r} is no text in {charset} or any encoding that was tried", url=url)

        if not media_type.is_html:
            clean = _clean(text)
            return SaidByPage("", clean[: self._characters], "", len(clean) > self._characters, charset)

        stop = threading.Event()
        try:
            said = await asyncio.to_thread(
                self._process.read, text, characters=self._characters, timeout_s=timeout_s, url=url, stop=stop
            )
        finally:
            stop.set()  # where nobody waits for it any more, its thread need not either
        return SaidByPage(
            _clean(said.title).replace("\n", " "), _clean(said.text), _clean(said.published), said.truncated, charset
        )

    def close(self) -> None:
        """End the process."""
        self._process.close()


def _clean(text: str) -> str:
    """Line feeds alone end lines, control characters are gone, and no more than one line is blank."""
    return _BLANK_LINES.sub("\n\n", _DIRT.sub("", _LINE_ENDS.sub("\n", text))).strip()
