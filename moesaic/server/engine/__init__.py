"""Engines: what computes tokens, behind one protocol. Importing this package loads neither torch nor vLLM.

engine.py              Engine, the protocol, with capabilities, states and limits
request.py             what is asked and answered
validation.py          the one place that refuses a request
constraint_rules.py    the part of it that looks at constraints
vllm_engine.py         VllmEngine: serves
transformers_engine.py TransformersEngine: the plain reference
scripted_engine.py     ScriptedEngine: a double for tests
"""

from moesaic.server.engine.engine import Capability, Engine, EngineLimits, EngineLoad, EngineState, Tokenizer
from moesaic.server.engine.request import (
    Constraint,
    ConstraintKind,
    Delta,
    FinishReason,
    GenerateRequest,
    SamplingParameters,
    TokenLogprob,
    Usage,
)
from moesaic.server.engine.scripted_engine import ScriptedEngine, ScriptedReply, running
from moesaic.server.engine.transformers_engine import TransformersEngine, TransformersSettings
from moesaic.server.engine.validation import validate
from moesaic.server.engine.vllm_engine import VllmEngine
from moesaic.server.engine.vllm_settings import VllmSettings

__all__ = [
    "Capability",
    "Constraint",
    "ConstraintKind",
    "Delta",
    "Engine",
    "EngineLimits",
    "EngineLoad",
    "EngineState",
    "FinishReason",
    "GenerateRequest",
    "SamplingParameters",
    "ScriptedEngine",
    "ScriptedReply",
    "TokenLogprob",
    "Tokenizer",
    "TransformersEngine",
    "TransformersSettings",
    "Usage",
    "VllmEngine",
    "VllmSettings",
    "running",
    "validate",
]
