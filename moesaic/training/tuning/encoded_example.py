"""An example as token ids, and which of them are learnt: exactly those that the model itself will have to write.

- What is learnt of a conversation are the assistant's words and the token that ends the turn, nothing of the template
  around them.
- Every answer is learnt after exactly the tokens that a server gives the model before it asks for that answer: the
  rendered messages before it with the generation prompt, encoded as one text. Whether a template marks its generations
  (`{% generation %}`) doesn't matter: the boundaries come from rendering the conversation up to each answer.
- A conversation is one sequence as long as the tokens before an answer begin with those of the answers before it. Where
  they don't (a template that rewrites earlier turns, a tokenizer that joins letters across the border), a new sequence
  begins, so that no answer is learnt after tokens that serving would never show.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.errors import CorpusError, TokenizerError
from moesaic.model.tokenizer_files import END_TOKENS
from moesaic.training.tuning.conversation import Completion, Conversation, Example, Role

__all__ = ["EncodedExample", "ExampleEncoder"]


@dataclass(frozen=True, kw_only=True)
class EncodedExample:
    """One sequence. Shape: S tokens."""

    token_ids: NDArray[np.int32]
    """[S]."""
    is_learnt: NDArray[np.bool_]
    """[S]; true where the token is to be predicted; never at the first token, which nothing stands before."""


class ExampleEncoder:
    """Encodes examples with one tokenizer.

    Args:
        tokenizer: a fast tokenizer of transformers; conversations need one with a chat template.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= set(tokenizer.all_special_tokens)
        known = {*tokenizer.get_added_vocab(), *special}
        self._ends = [end for end in dict.fromkeys([tokenizer.eos_token, *END_TOKENS]) if end and end in known]
        # Others, such as SmolLM2's <filename>, stand in honest texts, and a server takes them for control tokens too.
        frame = {*self._ends, tokenizer.bos_token, tokenizer.pad_token}
        template = str(tokenizer.chat_template or "")
        self._control = sorted(token for token in special if token in frame or token in template)

    @property
    def pad_id(self) -> int:
        """What fills rows; nothing is learnt from it and nothing sees it."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    def encode(self, example: Example) -> list[EncodedExample]:
        """The sequences of an example: one, except for templates and tokenizers as the head of this module says.

        Raises:
            TokenizerError: there is no chat template, it ends turns without a token that ends a turn, or its generation
                prompt is not how its answers begin.
            CorpusError: a message holds a control token, or the template refuses the messages.
        """
        self._refuse_control_tokens(example)
        return [self._completion(example)] if isinstance(example, Completion) else self._conversation(example)

    def _completion(self, example: Completion) -> EncodedExample:
        text = example.prompt + example.response
        encoded = self.tokenizer(text, return_offsets_mapping=True)
        ids = list(encoded["input_ids"])
        border = len(example.prompt)
        # What a post-processor adds (a first token, say) has an empty span; a token across the border is read.
        learnt = [start >= border and end > start for start, end in encoded["offset_mapping"]]
        eos = self.tokenizer.eos_token_id
        if example.end and eos is None:
            raise TokenizerError("the tokenizer has no end-of-text token, so no end can be learnt: set end=false")
        if example.end and ids[-1:] != [eos]:
            ids.append(eos)
            learnt.append(True)
        elif example.end:
            learnt[-1] = True
        return _example(ids, learnt)

    def _conversation(self, example: Conversation) -> list[EncodedExample]:
        messages = [{"role": str(turn.role), "content": turn.content} for turn in example.messages]
        done: list[EncodedExample] = []
        ids: list[int] = []
        learnt: list[bool] = []
        for index, turn in enumerate(example.messages):
            if turn.role is not Role.ASSISTANT:
                continue
            prompt, answer = self._turn(messages[: index + 1])
            if prompt[: len(ids)] != ids:
                done += [_example(ids, learnt)] if any(learnt) else []
                ids, learnt = [], []
            learnt += [False] * (len(prompt) - len(ids)) + [turn.learn] * len(answer)
            ids = prompt + answer
        return [*done, _example(ids, learnt)] if any(learnt) else done

    def _turn(self, messages: list[dict[str, str]]) -> tuple[list[int], list[int]]:
        """Tokens before the last message, and those of it with the end of the turn."""
        before = self._rendered(messages[:-1], prompting=True)
        through = self._rendered(messages, prompting=False)
        if not through.startswith(before):
            raise TokenizerError(
                f"the chat template asks for an answer with {before[-40:]!r}, but its answers don't begin so: a model "
                "tuned on them would never see what it is asked; correct the template's generation prompt"
            )
        written = through[len(before) :]
        ends = [(position, end) for end in self._ends if (position := written.find(end)) >= 0]
        if not ends:
            raise TokenizerError(
                f"the chat template ends an answer with {written[-40:]!r}, which holds none of the tokens that end a "
                f"turn ({', '.join(self._ends) or 'the tokenizer knows none'}): the model could never learn to stop"
            )
        position, end = min(ends)
        return self._ids(before), self._ids(written[: position + len(end)])

    def _rendered(self, messages: list[dict[str, str]], *, prompting: bool) -> str:
        if self.tokenizer.chat_template is None:
            raise TokenizerError(
                "the tokenizer has no chat template: add one, or give examples with prompt and response"
            )
        try:
            return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompting))
        except Exception as error:  # templates are programs: what one raises is its refusal of these messages
            raise CorpusError(
                f"the chat template refuses a conversation that begins with {messages[0]['content'][:60]!r}: "
                f"{str(error)[:200]}"
            ) from error

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _refuse_control_tokens(self, example: Example) -> None:
        """A control token in a text would end a turn, or begin one in another's name."""
        texts = (
            [example.prompt, example.response]
            if isinstance(example, Completion)
            else [turn.content for turn in example.messages]
        )
        for text in texts:
            for token in self._control:
                if token in text:
                    raise CorpusError(f"{text[:60]!r} holds the control token {token!r}: remove it from the data")


def _example(ids: list[int], learnt: list[bool]) -> EncodedExample:
    flags = np.asarray(learnt, dtype=np.bool_)
    flags[:1] = False
    if not flags.any():
        raise CorpusError(
            "an example has nothing to learn behind its first token: give it a prompt or a longer response"
        )
    return EncodedExample(token_ids=np.asarray(ids, dtype=np.int32), is_learnt=flags)
