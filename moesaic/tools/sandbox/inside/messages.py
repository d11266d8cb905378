"""What a server says to its zygote and to the children, and they to it.

To and from the zygote one message is one packet. The first packet of either side is JSON: the setup, and the answer
`ready` or `failed`. Those that follow are packed, since every page that the zygote writes to between two forks is
copied anew: reading JSON costs it a dozen.
"""

import struct

__all__ = [
    "EXITED",
    "EXITED_HEAD",
    "FAILED",
    "FORKED",
    "JOB_HEAD",
    "PING",
    "PONG",
    "READY",
    "REPLY",
    "REQUEST",
    "UNFORKED",
]

REQUEST = struct.Struct("=I?QIQ")
"""A child is wanted: its number, whether it is to rehearse, `memory_bytes`, `cpu_s`, `scratch_bytes`."""

PING = b"?"
"""Are you there? The answer is `PONG`."""

REPLY = struct.Struct("=cI")
"""What happened, and the number of the child that it is about."""

FORKED, UNFORKED, EXITED, PONG = b"f", b"u", b"e", b"p"
"""Here it is, with the server's ends of its pipes and its pid descriptor; the kernel refuses, and its reason follows;
it ended, and how follows; I am here. A packet holds any number of `EXITED`, and then at most one of the others."""

EXITED_HEAD = struct.Struct("=cIidQ")
"""`EXITED`, the child's number, its wait status, its processor time in seconds, its peak of memory in bytes."""

READY, FAILED = b"R", b"F"
"""First byte of what a child sends: all walls stand, or one does not and its reason follows."""

JOB_HEAD = struct.Struct(">III")
"""Before a job: the bytes of its program, those of the list of its files (JSON, name and size each), and the most bytes
of its value. The program, the list and the files' contents follow."""
