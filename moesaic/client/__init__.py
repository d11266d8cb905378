"""Typed synchronous and asynchronous gRPC clients over `moesaic.v1`, light enough for any application.

What speaks to a server from outside belongs here: no torch, no numpy, no LangChain, only gRPC and protobuf.

Empty so far. The clients arrive with the gRPC server.
"""
