"""Balanced assignment against the optimum, against a plain loop, and on routers that collapsed."""

from itertools import permutations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moesaic.training.router_losses.balanced_assignment import balanced_assignment

SIZES = st.tuples(st.integers(0, 40), st.integers(1, 9), st.integers(0, 2**31))
SMALL = st.tuples(st.integers(1, 7), st.integers(1, 3), st.integers(0, 2**31))


def random_scores(tokens: int, experts: int, seed: int) -> torch.Tensor:
    """Scores of which some are tied and whole experts are favoured."""
    generator = torch.Generator().manual_seed(seed)
    score_TE = torch.randn(tokens, experts, generator=generator) + 2 * torch.randn(experts, generator=generator)
    return score_TE.round(decimals=1) if seed % 2 else score_TE


def loads(choice_T: torch.Tensor, experts: int) -> list[int]:
    return torch.bincount(choice_T, minlength=experts).tolist()


def total(score_TE: torch.Tensor, choice_T: torch.Tensor) -> float:
    return float(score_TE.gather(-1, choice_T[:, None]).sum())


def places(tokens: int, experts: int, wanted: list[int]) -> list[int]:
    """Places per expert: the T % E experts with the most tokens at first get one more."""
    order = sorted(range(experts), key=lambda e: (-wanted[e], e))
    return [tokens // experts + (order.index(e) < tokens % experts) for e in range(experts)]


def assigned_by_a_loop(score_TE: torch.Tensor) -> list[int]:
    """The definition, one token at a time."""
    tokens, experts = score_TE.shape
    score = score_TE.tolist()
    choice = [max(range(experts), key=lambda e: (row[e], -e)) for row in score]
    room = places(tokens, experts, [choice.count(e) for e in range(experts)])
    while any(choice.count(e) > room[e] for e in range(experts)):
        load = [choice.count(e) for e in range(experts)]
        free = [e for e in range(experts) if load[e] < room[e]]
        moves: dict[int, int] = {}
        for crowded in (e for e in range(experts) if load[e] > room[e]):
            offers = []
            for token in (t for t in range(tokens) if choice[t] == crowded):
                best = max(free, key=lambda e: (score[token][e], -e))
                gap = torch.tensor(score[token][crowded]) - torch.tensor(score[token][best])
                offers.append((float(gap), token, best))
            moves |= {token: best for _, token, best in sorted(offers)[: load[crowded] - room[crowded]]}
        for token, best in moves.items():
            choice[token] = best
    return choice


@given(SIZES)
def test_loads_differ_by_at_most_one_and_the_loop_agrees(size):
    tokens, experts, _ = size
    score_TE = random_scores(*size)
    choice_T = balanced_assignment(score_TE)
    load = loads(choice_T, experts)
    assert sum(load) == tokens
    assert max(load) - min(load) <= 1
    assert choice_T.tolist() == assigned_by_a_loop(score_TE)


@given(SMALL)
def test_no_better_than_the_optimum_and_equal_to_it_for_two_experts(size):
    _, experts, _ = size
    score_TE = random_scores(*size)
    choice_T = balanced_assignment(score_TE)
    slots = [e for e, load in enumerate(loads(choice_T, experts)) for _ in range(load)]
    optimum = max(total(score_TE, torch.tensor(order)) for order in set(permutations(slots)))
    found = total(score_TE, choice_T)
    assert found <= optimum + 1e-4
    if experts <= 2:
        assert found == pytest.approx(optimum, abs=1e-4)


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 2**31))
def test_what_is_balanced_already_stays(experts, each, seed):
    generator = torch.Generator().manual_seed(seed)
    wanted_T = torch.arange(experts).repeat(each)[torch.randperm(experts * each, generator=generator)]
    score_TE = torch.nn.functional.one_hot(wanted_T, experts) + 0.5 * torch.rand(
        experts * each, experts, generator=generator
    )
    assert balanced_assignment(score_TE).tolist() == wanted_T.tolist()


def test_a_collapsed_router_gives_up_its_least_attached_tokens():
    score_TE = torch.tensor([[3.0, 0.0], [3.0, 2.9], [3.0, 1.0], [3.0, 2.5]])
    assert balanced_assignment(score_TE).tolist() == [0, 1, 0, 1]


def test_a_target_takes_no_gradient():
    assert not balanced_assignment(torch.randn(6, 3, requires_grad=True)).requires_grad


def test_many_tokens_of_routers_that_all_want_the_same_are_balanced_in_bounded_time():
    ranking_E = torch.linspace(5, 0, 64)
    score_TE = ranking_E + 0.01 * torch.randn(8192, 64, generator=torch.Generator().manual_seed(0))
    assert loads(balanced_assignment(score_TE), 64) == [128] * 64
