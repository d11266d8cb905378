"""Documents in, ranked and cited passages out.

What ranks text belongs here. This package knows no language model: what it needs of one it declares as a protocol
(embedder, scorer, extractor, summarizer), and `moesaic.chains` supplies it. Encoder inference, the only code here
that may use torch, gets its own folder `encoders`.

Empty so far. The first knowledge base arrives together with the gRPC service.
"""
