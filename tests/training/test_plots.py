"""Plots out of metrics, whatever kind of run wrote them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from moesaic.training.plots import draw_plots

DENSE = {"loss", "gradient_norm", "learning_rate", "speed"}
MIXTURE = DENSE | {"max_violation", "router_entropy", "dead_experts", "expert_load"}


def step(number: int, **more: Any) -> dict[str, Any]:
    figures = {"loss": 5.0 / number, "gradient_norm": 1.0, "learning_rate": 0.01, "tokens_per_s": 1e5}
    return {"step": number, **figures, **more}


def health(load: list[float]) -> dict[str, Any]:
    return {"max_violation": 0.5, "entropy": 1.0, "dead": 0, "load": load}


EXPERTS = [health([0.5, 0.25, 0.25]), health([0.1] * 10)]
EVALUATION = {"step": 2, "evaluation": {"field.loss": 2.0, "field.bits_per_byte": 1.0}}


@pytest.mark.parametrize(
    ("lines", "names"),
    [
        ([], set()),
        ([EVALUATION], set()),
        ([step(1)], DENSE),
        ([step(1), step(2, skipped=True, gradient_norm=None), EVALUATION, step(3)], DENSE),
        ([step(1, bits_per_byte=2.0), step(2), EVALUATION], DENSE),
        ([step(1, bits_per_byte=2.0, experts=EXPERTS), EVALUATION, step(2, bits_per_byte=1.0)], MIXTURE),
    ],
    ids=["nothing", "no-step", "dense", "skipped", "bytes-known-at-times", "mixture"],
)
def test_each_kind_of_run_is_drawn(tmp_path: Path, lines: list[dict[str, Any]], names: set[str]) -> None:
    drawn = draw_plots(lines, tmp_path / "plots")
    assert {path.stem for path in drawn} == names
    assert sorted(drawn) == sorted(tmp_path.glob("plots/*"))
    for path in drawn:
        with Image.open(path) as image:
            image.verify()
            assert image.size == (960, 540)


def test_drawn_again_they_replace_the_former(tmp_path: Path) -> None:
    draw_plots([step(1)], tmp_path)
    former = (tmp_path / "loss.png").read_bytes()
    draw_plots([step(1), step(2)], tmp_path)
    assert (tmp_path / "loss.png").read_bytes() != former
    assert len(list(tmp_path.iterdir())) == len(DENSE)
