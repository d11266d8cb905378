"""The wire contract: the .proto files of package moesaic.v1 and the code generated from them, nothing else.

Written by hand are only the .proto files; generated code is committed and never edited.

Empty so far. The first services (inference, discovery) arrive with the gRPC server.
"""
