"""LangChain Runnables: composition and prompts, and the loop around calls that a model makes by special tokens.

What orders calls or words a prompt belongs here, and so do the model-backed implementations of the protocols that
`moesaic.retrieval` declares. Nothing here computes with tensors: models are reached through `moesaic.client`.

Empty so far. The chat model and the first cited answers arrive with the gRPC service.
"""
