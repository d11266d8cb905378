"""Starts tasks without end, each of which starts another.

Class: bombs
Must: bounded
Status: error, timeout, memory
Memory: 64
Timeout: 3
"""

import asyncio


async def task(depth):
    return await asyncio.gather(task(depth + 1), task(depth + 1))


result = asyncio.run(task(0))
