"""How a run trains its routers: which loss shapes them, and when it acts."""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

from moesaic.errors import RecipeError
from moesaic.training.router_losses.large_margin import AGGREGATES, Aggregate
from moesaic.training.router_losses.large_margin_softmax import MAX_ANGLE_FACTOR, softening
from moesaic.training.router_losses.routing_target import TARGETS, RoutingTarget

__all__ = ["ROUTER_KINDS", "RouterCoefficients", "RouterConfig", "RouterKind"]

RouterKind = Literal["switch", "bias", "margin", "lsoftmax"]
"""`switch`: auxiliary balance loss (arXiv:2101.03961). `bias`: balancing bias without a loss (arXiv:2408.15664).
`margin`: large-margin loss (`large_margin`). `lsoftmax`: L-Softmax loss (`large_margin_softmax`)."""

ROUTER_KINDS: tuple[RouterKind, ...] = get_args(RouterKind)

_LEAST_BALANCE = 1e-3
_LEAST_GUARD = 0.1


@dataclass(frozen=True, kw_only=True)
class RouterCoefficients:
    """What the terms of the router's loss are multiplied by at one optimizer step."""

    balance: float
    z: float
    margin: float
    bias_rate: float


@dataclass(frozen=True, kw_only=True)
class RouterConfig:
    """The router's losses; `kind` chooses coefficients, each of which can be set by itself to combine kinds.

    A margin is off for the first steps, when the routers are still noise. Pulling tokens to targets that the router
    itself makes can collapse onto few experts, so that a margin is refused without a balancer beside it in the first
    tenth of the run.
    """

    kind: RouterKind = "switch"
    """Which loss shapes the router."""

    balance_coefficient: float | None = None
    """Weight of the balance loss; if not given 1e-2 for `switch`, 0 for `bias`, 1e-3 for the margins."""

    z_coefficient: float = 1e-3
    """Weight of the z-loss, which keeps logits small (ST-MoE, arXiv:2202.08906, equation 5)."""

    bias_rate: float | None = None
    """Step of the balancing bias, in logits per optimizer step; if not given 1e-3 for `bias`, else 0 (left alone)."""

    balance_share: float = 1.0
    """Share of the run, from its beginning, in which balance loss and bias act: above 0, and at least 0.1 for a margin.
    Less than 1 leaves the balance to the margin's target afterwards."""

    margin_coefficient: float | None = None
    """Weight of the margin loss; if not given 1e-2 for `margin` and `lsoftmax`, else 0. Setting it with another kind
    adds the large margin."""

    margin_warmup_share: float = 0.01
    """Share of the run, from its beginning, in which the margin has no weight yet: from 0 to below 1."""

    margin_target: RoutingTarget = "balanced"
    """The expert that a token is pulled to."""

    gamma: float = 0.5
    """Distance that `margin` asks for, in root mean squares of the router's input (0.25 to 1 is a usual range)."""

    aggregate: Aggregate = "max"
    """Rivals that `margin` charges a token for: the worst, or the sum over the two worst."""

    angle_factor: int = 2
    """m of `lsoftmax`, 1 to 4; 1 is a plain cross-entropy on the target."""

    lambda_start: float = 100.0
    """lambda of `lsoftmax` at step 0: the larger, the nearer to a plain cross-entropy."""

    lambda_decay: float = 0.99
    """Factor of lambda per optimizer step, above 0 and at most 1."""

    lambda_least: float = 5.0
    """lambda falls no lower than this; 0 is the pure margin."""

    def __post_init__(self) -> None:
        """Refuse values outside their ranges, and a margin without a balancer (`RecipeError`)."""
        for name, allowed in (("kind", ROUTER_KINDS), ("margin_target", TARGETS), ("aggregate", AGGREGATES)):
            if getattr(self, name) not in allowed:
                raise RecipeError(f"router.{name}={getattr(self, name)!r} is unknown: choose one of {allowed}")
        self._check_numbers()
        if self.uses_margin:
            self._check_balanced()

    @property
    def balance(self) -> float:
        """The balance loss's weight, given or by kind."""
        if self.balance_coefficient is not None:
            return self.balance_coefficient
        return {"switch": 1e-2, "bias": 0.0}.get(self.kind, 1e-3)

    @property
    def rate(self) -> float:
        """The bias's step, given or by kind."""
        if self.bias_rate is not None:
            return self.bias_rate
        return 1e-3 if self.kind == "bias" else 0.0

    @property
    def margin(self) -> float:
        """The margin's weight, given or by kind."""
        if self.margin_coefficient is not None:
            return self.margin_coefficient
        return 1e-2 if self.kind in ("margin", "lsoftmax") else 0.0

    @property
    def uses_margin(self) -> bool:
        """Whether any step has a margin loss."""
        return self.margin > 0

    def at(self, step: int, total_steps: int) -> RouterCoefficients:
        """Coefficients at optimizer step `step` (from 0) of a run of `total_steps`."""
        balances = step < self.balance_share * total_steps
        return RouterCoefficients(
            balance=self.balance if balances else 0.0,
            z=self.z_coefficient,
            margin=0.0 if step < self.margin_warmup_share * total_steps else self.margin,
            bias_rate=self.rate if balances else 0.0,
        )

    def softening(self, step: int) -> float:
        """Lambda of `lsoftmax` at an optimizer step."""
        return softening(step, start=self.lambda_start, decay=self.lambda_decay, least=self.lambda_least)

    def _check_numbers(self) -> None:
        for name in ("balance_coefficient", "z_coefficient", "bias_rate", "margin_coefficient", "lambda_least"):
            value = getattr(self, name)
            if value is not None and not (isfinite(value) and value >= 0):
                raise RecipeError(f"router.{name}={value!r} must be a finite number of at least 0")
        if not 0 < self.balance_share <= 1 or not 0 <= self.margin_warmup_share < 1:
            raise RecipeError(
                f"router.balance_share={self.balance_share!r} must be above 0 and at most 1, "
                f"router.margin_warmup_share={self.margin_warmup_share!r} at least 0 and below 1: both are shares of "
                "the run's steps"
            )
        if not (isfinite(self.gamma) and self.gamma > 0):
            raise RecipeError(f"router.gamma={self.gamma!r} must be a finite distance above 0, such as 0.5")
        if self.angle_factor not in range(1, MAX_ANGLE_FACTOR + 1):
            raise RecipeError(
                f"router.angle_factor={self.angle_factor!r} must be a whole number, 1 to {MAX_ANGLE_FACTOR}"
            )
        if not (isfinite(self.lambda_start) and self.lambda_start >= self.lambda_least and 0 < self.lambda_decay <= 1):
            raise RecipeError(
                f"router.lambda_start={self.lambda_start!r} must be finite and at least lambda_least="
                f"{self.lambda_least!r}, router.lambda_decay={self.lambda_decay!r} above 0 and at most 1"
            )

    def _check_balanced(self) -> None:
        if self.balance < _LEAST_BALANCE and not self.rate:
            raise RecipeError(
                f"a margin with router.balance_coefficient={self.balance!r} and router.bias_rate={self.rate!r} may "
                f"collapse onto few experts: set balance_coefficient to at least {_LEAST_BALANCE}, or a bias_rate such "
                "as 0.001"
            )
        if self.balance_share < _LEAST_GUARD:
            raise RecipeError(
                f"router.balance_share={self.balance_share!r} is too small for a margin: balance for at least the "
                f"first {_LEAST_GUARD} of the run"
            )
        if self.margin_target == "top1" and self.balance_share < 1:
            raise RecipeError(
                f"router.margin_target='top1' balances nothing, and router.balance_share={self.balance_share!r} ends "
                "the balancing: set balance_share=1, or margin_target='balanced'"
            )
