"""A model in plain PyTorch with its keys and values cached, for `TransformersEngine`. It blocks: call it in a thread.

Shapes: B = 1 sequence, S tokens of one piece, V vocabulary.
"""

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import DynamicCache

from moesaic.artifact import ExpertProbe
from moesaic.model.plain import load_plain
from moesaic.model.probes import run_probe
from moesaic.server.engine.request import SamplingParameters
from moesaic.server.engine.token_sampler import Drawn, TokenSampler

__all__ = ["PlainModel", "PlainPrompt", "PlainSequence"]

_PIECE = 256  # tokens of a prompt that are computed at once; bounds memory, and how long an abort waits


class PlainModel:
    """The weights of an artifact, dequantized.

    Attributes:
        end_token_ids: tokens that end a text, by the artifact's generation_config.json.
        vocab_size: V.
    """

    def __init__(self, folder: Path, dtype: str) -> None:
        self._model = load_plain(folder, dtype=getattr(torch, dtype))
        ends = self._model.generation_config.eos_token_id
        self.end_token_ids = frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends])
        self.vocab_size = int(self._model.config.vocab_size)

    def new_cache(self) -> DynamicCache:
        """An empty cache."""
        return DynamicCache(config=self._model.config)

    @torch.inference_mode()
    def logits(self, token_ids: Sequence[int], cache: DynamicCache, *, keep: int = 0) -> torch.Tensor:
        """Logits [S, V] after each of the tokens, or after the last `keep`; the cache grows by S."""
        output = self._model(
            input_ids=torch.tensor([list(token_ids)]), past_key_values=cache, use_cache=True, logits_to_keep=keep
        )
        return output.logits[0]

    @torch.inference_mode()
    def logprobs(self, sequence: Sequence[int]) -> list[float]:
        """Give log p(token | the tokens before it) in nats, of every token but the first."""
        cache, given, wanted = self.new_cache(), sequence[:-1], sequence[1:]
        logprobs: list[float] = []
        for begin in range(0, len(given), _PIECE):
            piece = given[begin : begin + _PIECE]
            logp_SV = torch.log_softmax(self.logits(piece, cache).float(), dim=-1)
            target_S1 = torch.tensor(wanted[begin : begin + len(piece)]).unsqueeze(-1)
            logprobs += logp_SV.gather(-1, target_S1).squeeze(-1).tolist()
        return logprobs

    def run_probes(self, probes: Sequence[ExpertProbe]) -> list[list[list[float]]]:
        """What the mixture layers give for expert probes."""
        options = {"hidden_size": int(self._model.config.hidden_size), "dtype": self._model.dtype}
        layers = self._model.model.layers
        return [run_probe(layers[probe.layer].mlp, probe.seed, probe.tokens, **options) for probe in probes]


class PlainPrompt:
    """A prompt on its way through the model, in pieces."""

    def __init__(self, model: PlainModel, token_ids: Sequence[int]) -> None:
        self._model = model
        self._token_ids = tuple(token_ids)
        self._cache = model.new_cache()
        self._done = 0
        self._logits_V: torch.Tensor | None = None

    @property
    def computed(self) -> bool:
        """Whether all of it has passed."""
        return self._done == len(self._token_ids)

    def advance(self) -> None:
        """Compute the next piece."""
        piece = self._token_ids[self._done : self._done + _PIECE]
        self._logits_V = self._model.logits(piece, self._cache, keep=1)[-1]
        self._done += len(piece)

    def continued(self, sampling: SamplingParameters, index: int) -> "PlainSequence":
        """Begin one of the request's sequences; each has a cache of its own."""
        assert self._logits_V is not None
        assert self.computed
        sampler = TokenSampler(sampling, self._token_ids, index, self._model.vocab_size)
        cache = self._cache if index == sampling.n - 1 else copy.deepcopy(self._cache)
        return PlainSequence(self._model, cache, self._logits_V, sampler)


class PlainSequence:
    """A sequence that grows by one token at a time."""

    def __init__(self, model: PlainModel, cache: DynamicCache, logits_V: torch.Tensor, sampler: TokenSampler) -> None:
        self._model = model
        self._cache = cache
        self._logits_V = logits_V
        self._sampler = sampler
        self._last: int | None = None

    @torch.inference_mode()
    def advance(self) -> Drawn:
        """Draw the next token, after computing the logits that the one before leads to."""
        if self._last is not None:
            self._logits_V = self._model.logits([self._last], self._cache, keep=1)[-1]
        drawn = self._sampler.draw(self._logits_V)
        self._last = drawn.token_id
        return drawn
