"""Starts workers through the libraries that programs usually take.

Class: exec
Must: no-process
Status: ok, error
Value: []
"""

import asyncio
import concurrent.futures
import multiprocessing


def work():
    return 1


def pool():
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        executor.submit(work).result(timeout=3)


def process():
    started = multiprocessing.get_context("fork").Process(target=work)
    started.start()
    started.join(3)


async def command():
    await asyncio.create_subprocess_exec("/bin/true")


def attempts():
    yield "pool", pool
    yield "process", process
    yield "spawned", lambda: multiprocessing.get_context("spawn").Process(target=work).start()
    yield "queue", multiprocessing.Queue
    yield "asyncio", lambda: asyncio.run(command())


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
