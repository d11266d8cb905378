"""What a model may call: a Python sandbox, search engines, a calculator; each with a schema and limits.

What acts when a model asks belongs here. A tool knows nothing of who calls it: `moesaic.chains` runs the loop.

Empty so far. The sandbox and the search engines arrive after the gRPC service.
"""
