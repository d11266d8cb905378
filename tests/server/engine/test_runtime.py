"""Threads and libraries for every kind of machine; on this one, a process started so has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import InputError
from moesaic.server.engine import runtime
from moesaic.server.engine.hardware import Machine
from moesaic.server.engine.runtime import engine_environment, openmp_library
from moesaic.server.engine.vllm_settings import VllmSettings
from tests.server.engine.machines import MACHINES, machine

ONE = VllmSettings()
TWO = VllmSettings(tensor_parallel=2)
SMALL = MACHINES["zen"]


@pytest.fixture
def intel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "openmp_library", lambda: Path("/libs/libiomp5.so"))


@pytest.fixture
def gnu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "openmp_library", lambda: Path("/libs/libgomp-24e.so.1"))


def cores(count: int, *, nodes: int = 1, quota: float | None = None) -> Machine:
    cpus = tuple(range(count))
    share = count // nodes
    return machine(
        cpus=cpus,
        physical_cpus=cpus,
        numa_cpus=tuple(cpus[node * share : (node + 1) * share] for node in range(nodes)),
        cpu_quota=quota,
    )


@pytest.mark.usefixtures("intel")
def test_a_small_machine_computes_on_every_core() -> None:
    assert engine_environment(SMALL, ONE, {}) == {
        "LD_PRELOAD": "/libs/libiomp5.so",
        "OMP_NUM_THREADS": "2",
        "KMP_AFFINITY": "granularity=fine,explicit,proclist=[0,1]",
        "KMP_BLOCKTIME": "5",
        "KMP_TPAUSE": "0",
    }


@pytest.mark.usefixtures("gnu")
def test_torchs_own_library_is_told_in_its_own_words() -> None:
    assert engine_environment(SMALL, ONE, {}) == {
        "LD_PRELOAD": "/libs/libgomp-24e.so.1",
        "OMP_NUM_THREADS": "2",
        "GOMP_CPU_AFFINITY": "0 1",
    }


@pytest.mark.usefixtures("intel")
@pytest.mark.parametrize(
    ("described", "threads", "places"),
    [
        (cores(4), "4", "[0,1,2,3]"),
        (cores(8), "7", "[0,1,2,3,4,5,6]"),
        (cores(32, nodes=2), "15", "[0,1,2,3,4,5,6,7,8,9,10,11,12,13,14]"),
        (cores(8, quota=2.5), "2", None),
        (cores(2, quota=0.5), "1", None),
        (cores(2, quota=2.0), "2", "[0,1]"),
        (cores(1), "1", "[0]"),
    ],
)
def test_threads_follow_cores_nodes_and_quota(described: Machine, threads: str, places: str | None) -> None:
    found = engine_environment(described, ONE, {})

    assert found["OMP_NUM_THREADS"] == threads
    assert found.get("KMP_AFFINITY") == (places and f"granularity=fine,explicit,proclist={places}")


@pytest.mark.usefixtures("intel")
@pytest.mark.parametrize(
    ("described", "bind"),
    [
        (cores(4), "0,1|2,3"),
        (cores(5), "0,1|2,3"),
        (cores(1), "0|0"),
        (cores(6, nodes=2), "0,1,2|3,4,5"),
        (cores(8, quota=3.0), "nobind"),
    ],
)
def test_several_processes_are_bound_by_vllm(described: Machine, bind: str) -> None:
    found = engine_environment(described, TWO, {})

    assert found == {"LD_PRELOAD": "/libs/libiomp5.so", "VLLM_CPU_OMP_THREADS_BIND": bind}
    assert engine_environment(described, TWO, {"VLLM_CPU_OMP_THREADS_BIND": "0|1"}) == {
        "LD_PRELOAD": "/libs/libiomp5.so"
    }


@pytest.mark.usefixtures("intel")
@pytest.mark.parametrize(
    ("given_variables", "kept"),
    [
        ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS"}),
        ({"KMP_AFFINITY": "none"}, {"KMP_AFFINITY"}),
        ({"OMP_PROC_BIND": "close"}, {"KMP_AFFINITY"}),
        ({"KMP_BLOCKTIME": "200"}, {"KMP_BLOCKTIME"}),
        ({"LD_PRELOAD": "/usr/lib/libgomp.so.1"}, {"LD_PRELOAD", "KMP_AFFINITY", "KMP_BLOCKTIME", "KMP_TPAUSE"}),
        ({"VLLM_CPU_OMP_THREADS_BIND": "nobind"}, {"KMP_AFFINITY"}),
    ],
)
def test_what_the_user_has_set_stays(given_variables: dict[str, str], kept: set[str]) -> None:
    added = engine_environment(SMALL, ONE, given_variables)

    assert not set(added) & kept
    assert not set(added) & set(given_variables)


@pytest.mark.usefixtures("intel")
def test_other_preloaded_libraries_are_kept() -> None:
    added = engine_environment(SMALL, ONE, {"LD_PRELOAD": "/usr/lib/libtcmalloc_minimal.so.4"})

    assert added["LD_PRELOAD"] == "/usr/lib/libtcmalloc_minimal.so.4:/libs/libiomp5.so"


@pytest.mark.usefixtures("intel")
def test_vllms_list_of_cores_is_obeyed_in_the_single_process() -> None:
    added = engine_environment(cores(8), ONE, {"VLLM_CPU_OMP_THREADS_BIND": "2-4,7|5-6"})

    assert added["OMP_NUM_THREADS"] == "4"
    assert added["KMP_AFFINITY"].endswith("proclist=[2,3,4,7]")
    with pytest.raises(InputError, match="'everywhere' must be auto, nobind or lists of cores"):
        engine_environment(SMALL, ONE, {"VLLM_CPU_OMP_THREADS_BIND": "everywhere"})


@pytest.mark.parametrize("kind", ["gpu", "no vllm", "nothing"])
def test_only_vllm_on_a_cpu_needs_anything(kind: str) -> None:
    assert engine_environment(MACHINES[kind], ONE, {}) == {}


def test_without_any_library_threads_are_placed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "openmp_library", lambda: None)

    assert engine_environment(SMALL, ONE, {}) == {"OMP_NUM_THREADS": "2", "GOMP_CPU_AFFINITY": "0 1"}


@given(
    count=st.integers(1, 64), nodes=st.integers(1, 4), quota=st.none() | st.floats(0.1, 100), ranks=st.integers(1, 8)
)
def test_no_thread_is_placed_outside_and_none_computes_beyond_the_quota(
    count: int, nodes: int, quota: float | None, ranks: int
) -> None:
    described = cores(max(count, nodes), nodes=nodes, quota=quota)
    before = dict(os.environ)
    added = engine_environment(described, VllmSettings(tensor_parallel=ranks), {})

    assert os.environ == before
    assert all(added.values())
    if ranks == 1:
        assert 1 <= int(added["OMP_NUM_THREADS"]) <= max(1, quota or count + nodes)
        return
    lists = added["VLLM_CPU_OMP_THREADS_BIND"].split("|")
    assert lists == ["nobind"] or len(lists) == ranks
    if lists != ["nobind"]:
        assert {int(cpu) for part in lists for cpu in part.split(",")} <= set(described.physical_cpus)


def test_the_library_is_found_and_loads() -> None:
    library = openmp_library()
    assert library is not None
    code = (
        "import ctypes, os; "
        "maps = open('/proc/self/maps', encoding='utf-8').read(); "
        "print(os.environ['LD_PRELOAD'] in maps, ctypes.CDLL(None).omp_get_max_threads())"
    )
    environment = dict(os.environ) | engine_environment(SMALL, ONE, {}) | {"OMP_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True, env=environment
    )

    assert done.stdout.split() == ["True", "2"]
    assert done.stderr == ""


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from moesaic.server.engine.hardware import Machine; "
        "from moesaic.server.engine.runtime import engine_environment; "
        "from moesaic.server.engine.vllm_settings import VllmSettings; "
        "engine_environment(Machine.detect(), VllmSettings(), {}); print('torch' in sys.modules, 'vllm' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)

    assert done.stdout.split() == ["False", "False"]
