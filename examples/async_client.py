"""Ask a served model from asyncio, and stream the answer: python examples/async_client.py [TARGET]."""

import asyncio
import sys
from contextlib import aclosing

from moesaic import v1
from moesaic.client import AsyncClient


async def main(target: str) -> None:
    """Stream one answer, and say which weights gave it."""
    question = v1.ChatMessage(role="ROLE_USER", content="Why are leaves green?")
    request = v1.ChatRequest(messages=[question], sampling=v1.SamplingParameters(max_tokens=64, temperature=0))
    async with (
        AsyncClient(target) as client,
        aclosing(client.chat_stream(v1.ChatStreamRequest(request=request))) as events,
    ):
        async for event in events:
            match event.WhichOneof("event"):
                case "started":
                    print(f"[{event.started.model}, weights {event.started.weight_version[:12]}]")
                case "delta":
                    print(event.delta.text, end="", flush=True)
                case "finished":
                    print(f"\n[{event.finished.usage.completion_tokens} tokens]")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:50051"))
