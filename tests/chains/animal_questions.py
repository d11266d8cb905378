"""A base of twelve animals' beds, with twelve questions that it answers and twelve that it does not."""

from typing import Any

__all__ = ["ANIMALS", "QUESTIONS", "TEXTS"]

ANIMALS = ("cat", "dog", "owl", "fox", "cow", "hen", "pig", "bee", "rat", "elk", "ape", "bat")

TEXTS = {animal: f"The {animal} called Number {animal} sleeps in the {animal} house." for animal in ANIMALS}
"""By the id of the document."""

QUESTIONS: list[dict[str, Any]] = [
    {"question": f"Where does the {animal} sleep?", "gold": [{"document": animal, "quote": text}]}
    for animal, text in TEXTS.items()
] + [{"question": f"Who won match {number} of the season?", "gold": []} for number in range(12)]
"""As `moesaic calibrate` takes them."""
