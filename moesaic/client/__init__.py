"""Typed clients of a Moesaic server. Light: neither torch nor numpy nor langchain is loaded.

protocol.py  InferenceClient, what every client offers
status.py    the one table between errors and the status of a call
"""

from moesaic.client.protocol import InferenceClient

__all__ = ["InferenceClient"]
