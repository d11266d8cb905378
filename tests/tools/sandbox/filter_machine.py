"""What the kernel does with a system-call filter, step by step: a machine for classic BPF, for tests."""

import struct

__all__ = ["decide"]

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06


def decide(program: bytes, *, number: int, architecture: int, arguments: tuple[int, ...] = ()) -> int:
    """The action that the filter takes at a call; fails where the program is not sound."""
    padded = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("=IIQ6Q", number, architecture, 0, *padded)
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator, place = 0, 0
    while True:
        code, if_true, if_false, value = instructions[place]
        place += 1
        if code == _RETURN:
            return int(value)
        if code == _LOAD:
            assert value % 4 == 0
            accumulator = struct.unpack_from("=I", data, value)[0]
            continue
        holds = {
            _JUMP_EQUAL: accumulator == value,
            _JUMP_AT_LEAST: accumulator >= value,
            _JUMP_ANY_BIT: bool(accumulator & value),
        }[code]
        place += if_true if holds else if_false
