"""Runs of one and of several processes, which one interpreter forks: loading takes longer than all of the runs.

Of a run that is measured, every process notes in `memory-RANK.json` how many bytes torch's allocator held at the most
while the model was made and while a checkpoint was loaded, beyond what it held before.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from tests.repository import ROOT

__all__ = ["ForkedRun", "run_forked"]

_PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from torch.distributed import TCPStore
from moesaic.training import pretraining
from moesaic.training.processes import joined_processes
from moesaic.training.recipe import recipe_of
from tests.training.tiny_run import recipe_table

# Neither the plots nor what a disk takes its time for is looked at here.
pretraining.draw_plots = lambda *_: None
os.fsync = lambda _: None

def recipe(run):
    table = recipe_table(Path(run["folder"]), run["settings"])
    if table["model"]["start"] != "scratch":
        del table["model"]["config"]
    return recipe_of(table)

def measured(function, peaks):
    def inner(*arguments, **options):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            result = function(*arguments, **options)
        held = peak = 0
        events = profile.profiler.kineto_results.events()
        for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
            held += event.nbytes()
            peak = max(peak, held)
        peaks[function.__name__.strip("_")] = peak
        return result
    return inner

def train(run, rank, size):
    peaks = {}
    if run["measured"]:
        pretraining._runner = measured(pretraining._runner, peaks)
        pretraining.Trainer.resume = measured(pretraining.Trainer.resume, peaks)
    with joined_processes() as processes:
        assert (processes.rank, processes.size) == (rank, size)
        pretraining.pretrain(recipe(run), processes=processes, resume=run["resume"])
    if run["measured"]:
        Path(run["folder"], f"memory-{rank}.json").write_text(json.dumps(peaks))

for run in json.loads(sys.argv[1]):
    recipe(run)  # its files are written once, before the processes read them
    children, size = [], run["processes"]
    # As torchrun does it, the store that they meet at is there before them: a port that was free may soon be taken.
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if size > 1 else None
    for rank in range(size):
        child = os.fork()
        if child == 0:
            if store is not None:
                os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=str(store.port), TORCHELASTIC_USE_AGENT_STORE="True")
            train(run, rank, size)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, run
    del store
"""


@dataclass(frozen=True, kw_only=True)
class ForkedRun:
    """A tiny run, or a part of one."""

    folder: str
    """Of the recipe; the run is in `run` below it."""
    processes: int
    settings: tuple[str, ...]
    resume: str = "auto"
    measured: bool = False


def run_forked(runs: Sequence[ForkedRun]) -> None:
    """Run them one after another; fails with what the processes said."""
    plan = json.dumps([asdict(run) for run in runs])
    done = subprocess.run([sys.executable, "-c", _PROGRAM, plan], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
