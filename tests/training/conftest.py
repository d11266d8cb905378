"""What holds for every test of training."""

import sys

import pytest


@pytest.fixture
def plots_drawn() -> None:
    """Asked for by tests of the whole way, and by those that look at plots."""


@pytest.fixture(autouse=True)
def _plots_left_out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a run that takes a second, its plots take half; most tests look at its weights and figures."""
    if "plots_drawn" not in request.fixturenames and "moesaic.training.pretraining" in sys.modules:
        monkeypatch.setattr("moesaic.training.pretraining.draw_plots", lambda *_: [])
