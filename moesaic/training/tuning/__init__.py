"""Tuning on examples: conversations, what of a model is trained, recipes for the chains, classifiers of pairs.

    trained = tune(model, tuning)                             # what is trained; before the optimizer is made
    source = example_source(examples, tokenizer, folder, …)   # a `BatchSource`
    …                                                         # any loop
    finish_tuning(model)                                      # merged; or MergedWeights(of a checkpoint, tuning.lora)

No training loop over a language model is here: that is the trainer of this package.
"""

from moesaic.training.tuning.adapter_file import load_adapter, save_adapter
from moesaic.training.tuning.conversation import Completion, Conversation, Example, Message, Role, read_examples
from moesaic.training.tuning.conversation_source import ConversationSource
from moesaic.training.tuning.encoded_example import EncodedExample, ExampleEncoder
from moesaic.training.tuning.example_recipe import (
    ExampleKind,
    ExampleOptions,
    PreparedExamples,
    example_source,
    prepared_examples,
    write_examples,
)
from moesaic.training.tuning.grounded_question import GroundedQuestion, GroundedSet, read_grounded
from moesaic.training.tuning.grounded_recipe import GroundedOptions, ServedFormat, grounded_examples
from moesaic.training.tuning.low_rank import LowRankOptions, MergedWeights
from moesaic.training.tuning.pair_classifier import PairClassifier
from moesaic.training.tuning.pair_quality import PairQuality
from moesaic.training.tuning.pair_training import PairTrainingOptions, TrainedPairs, train_pairs
from moesaic.training.tuning.parameter_kinds import ParameterKind, TrainedParameters
from moesaic.training.tuning.program_recipe import program_examples
from moesaic.training.tuning.text_pair import (
    PairOptions,
    PairRelation,
    PairSplits,
    TextPair,
    coherence_pairs,
    relevance_pairs,
    split_pairs,
)
from moesaic.training.tuning.tuned_part import TunedPart, TuningOptions, finish_tuning, tune

__all__ = [
    "Completion",
    "Conversation",
    "ConversationSource",
    "EncodedExample",
    "Example",
    "ExampleEncoder",
    "ExampleKind",
    "ExampleOptions",
    "GroundedOptions",
    "GroundedQuestion",
    "GroundedSet",
    "LowRankOptions",
    "MergedWeights",
    "Message",
    "PairClassifier",
    "PairOptions",
    "PairQuality",
    "PairRelation",
    "PairSplits",
    "PairTrainingOptions",
    "ParameterKind",
    "PreparedExamples",
    "Role",
    "ServedFormat",
    "TextPair",
    "TrainedPairs",
    "TrainedParameters",
    "TunedPart",
    "TuningOptions",
    "coherence_pairs",
    "example_source",
    "finish_tuning",
    "grounded_examples",
    "load_adapter",
    "prepared_examples",
    "program_examples",
    "read_examples",
    "read_grounded",
    "relevance_pairs",
    "save_adapter",
    "split_pairs",
    "train_pairs",
    "tune",
    "write_examples",
]
