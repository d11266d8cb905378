"""A model artifact behind gRPC: engines, and (by a later part) services, admission and refresh."""
