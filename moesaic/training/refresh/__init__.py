"""Refreshing a served model: train, round, check, compare with what is served, publish, see it served.

refresh_recipe.py   what a refresh is, from TOML
choice_question.py  questions with choices, answered by what is likelier
gate.py             Gate: the figures of a candidate beside those of the served version, and whether they may pass
refreshing.py       refresh: the whole way
"""

from moesaic.training.refresh.gate import Comparison, Gate, GateConfig
from moesaic.training.refresh.refresh_recipe import RefreshRecipe, load_refresh_recipe
from moesaic.training.refresh.refreshing import Refreshed, refresh

__all__ = ["Comparison", "Gate", "GateConfig", "RefreshRecipe", "Refreshed", "load_refresh_recipe", "refresh"]
