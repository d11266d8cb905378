"""From text to a model artifact: data, tokenizer, stages, calibrated quantization, evaluation, recipes.

What changes weights belongs here. Training and server are siblings that never import each other: they meet through
an artifact on disk (`moesaic.artifact`) and through the gRPC client.

Empty so far. Building a model from a dense one without training is `moesaic.model.upcycling`; recipes that train it
arrive after the gRPC service.
"""
