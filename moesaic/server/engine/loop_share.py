"""The event loop shared with vLLM's two readers: one takes outputs from the socket, one hands them to their requests.

Neither pauses as long as there is more to read. On a busy host they fall behind the engine, and what has gathered grows
with every round: the loop stood still for seconds, until the engine had nothing more to say. Meanwhile no health check
was answered, and no cancel or deadline was seen.
"""

import asyncio
from typing import Any

__all__ = ["LoopShare", "share_loop"]

_LONGEST_TURN_S = 0.01


class LoopShare:
    """One coroutine's share of its event loop: when it has run for a while without a pause, others come first."""

    def __init__(self, longest_turn_s: float = _LONGEST_TURN_S) -> None:
        self._longest_turn_s = longest_turn_s
        self._began: float | None = None

    async def give_way(self) -> None:
        """Let the loop turn, if it has not done so for `longest_turn_s`; to be called again and again."""
        loop = asyncio.get_running_loop()
        if self._began is None:
            self._began = loop.time()
            loop.call_soon(self._turned)
        elif loop.time() - self._began > self._longest_turn_s:
            await asyncio.sleep(0)

    def _turned(self) -> None:
        self._began = None


def share_loop(core: Any) -> None:
    """Have both readers of vLLM's `AsyncMPClient` give way; call it in the event loop before anything is asked."""
    socket = core.resources.output_socket
    core.resources.output_socket = _SharedSocket(socket)
    core._ensure_output_queue_task()  # keeps what it finds; whoever closes the socket must find the real one
    core.resources.output_socket = socket

    get_output, share = core.get_output_async, LoopShare()

    async def get_output_and_give_way() -> Any:
        await share.give_way()
        return await get_output()

    core.get_output_async = get_output_and_give_way


class _SharedSocket:
    """The part of a zmq socket that is read."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._share = LoopShare()

    async def recv_multipart(self, **options: Any) -> Any:
        await self._share.give_way()
        return await self._socket.recv_multipart(**options)
