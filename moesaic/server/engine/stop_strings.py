"""Finding stop strings in text that arrives piece by piece, for engines that generate without vLLM."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Released", "StopStrings"]


class Released(NamedTuple):
    """Text that may be shown, and whether a stop string ended the sequence."""

    text: str
    stopped: bool


class StopStrings:
    """Holds back text that may be the beginning of a stop string, and cuts off at the first one.

    Of stop strings that end at the same character, or within the same piece, the one that begins first counts.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""

    def push(self, text: str) -> Released:
        """Add new text; give what can no longer become part of a stop string."""
        self._held += text
        begins = [at for at in map(self._held.find, self._stops) if at >= 0]
        if begins:
            return Released(self._held[: min(begins)], True)

        kept = self._longest_beginning()
        released = self._held[: len(self._held) - kept]
        self._held = self._held[len(self._held) - kept :]
        return Released(released, False)

    def flush(self) -> str:
        """Give what was held back: the sequence ended for another reason."""
        released, self._held = self._held, ""
        return released

    def _longest_beginning(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        return max(
            (
                length
                for stop in self._stops
                for length in range(1, min(len(stop), len(self._held) + 1))
                if self._held.endswith(stop[:length])
            ),
            default=0,
        )
