"""How long imports take, each in a process of its own."""

import subprocess
import sys

__all__ = ["import_times"]

# Names are loaded when they are asked for; a client that is used has both.
_STATEMENTS = {"grpc": "import grpc", "moesaic.client": "from moesaic.client import AsyncClient, Client"}
_PROGRAM = "import time; began = time.perf_counter(); {statement}; print(time.perf_counter() - began)"


def import_times(rounds: int) -> dict[str, list[float]]:
    """Seconds of importing grpc and both clients of `moesaic.client`, in turn; a first round warms the file cache."""
    times: dict[str, list[float]] = {module: [] for module in _STATEMENTS}
    for index in range(rounds + 1):
        for module, statement in _STATEMENTS.items():
            command = [sys.executable, "-c", _PROGRAM.format(statement=statement)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            if index:
                times[module].append(float(done.stdout))
    return times
