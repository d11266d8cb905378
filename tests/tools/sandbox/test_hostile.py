"""The hostile programs are contained in every tier, run by root and by an ordinary user. One breach fails the suite.

The programs stand in `hostile/`; what each must not achieve stands in its docstring (see `hostile_program.py`). They
are run by a process of their own (see `hostile_run.py`), all of a tier in one go.
"""

import importlib.util
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from moesaic.tools.sandbox import Tier
from tests.repository import ROOT
from tests.tools.sandbox.host_canaries import HostCanaries
from tests.tools.sandbox.hostile_program import MUSTS, HostileProgram, hostile_programs

ORDINARY_USER = 65534
TIERS = [Tier.NAMESPACES, Tier.SECCOMP, *([Tier.MONTY] if importlib.util.find_spec("pydantic_monty") else [])]
USERS = [0, ORDINARY_USER] if os.geteuid() == 0 else [os.geteuid()]

CLASSES = {
    "bombs",
    "crashes",
    "devices",
    "exec",
    "exits",
    "files",
    "forged results",
    "hooks",
    "inherited descriptors",
    "introspection",
    "kernel information",
    "keyrings",
    "leftover state",
    "limits",
    "machine code",
    "metadata",
    "mounts",
    "namespaces",
    "network",
    "proc",
    "processes",
    "program text",
    "raw system calls",
    "recursion",
    "results",
    "scheduling",
    "scientific packages",
    "secrets",
    "shared memory",
    "siblings",
    "signals",
    "stdin",
    "terminals",
    "users",
}


def run_set(*arguments: str) -> dict[str, Any]:
    """What became of the set, or of a part of it."""
    command = [sys.executable, "-B", "-m", "tests.tools.sandbox.hostile_run", "--json", *arguments]
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=580)
    assert done.returncode in (0, 1, 3), done.stderr
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return outcome


def may_have_namespaces(user: int) -> bool:
    """Whether the kernel lets this user have namespaces at all, asked without the sandbox."""
    question = f"import ctypes, os; os.setresuid({user}, {user}, {user}); exit(ctypes.CDLL(None).unshare(0x10020000))"
    return subprocess.run([sys.executable, "-I", "-c", question], check=False).returncode == 0


def judge(outcome: dict[str, Any], tier: Tier, user: int) -> None:
    """Fail unless every program ran and was contained, or the tier was refused with a reason, and rightly so."""
    assert outcome["user"] == user
    if outcome["unavailable"]:
        assert tier is Tier.NAMESPACES, outcome["unavailable"]
        assert not may_have_namespaces(user), outcome["unavailable"]
        return
    assert set(outcome["programs"]) == {program.name for program in hostile_programs()}
    assert not outcome["breaches"], "\n".join(outcome["breaches"])


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("tier", TIERS)
def test_everything_is_contained(tier: Tier, user: int) -> None:
    judge(run_set("--tier", tier.value, *(["--ordinary-user"] if user else [])), tier, user)


@pytest.mark.parametrize("tier", [Tier.NAMESPACES, Tier.SECCOMP])
def test_landlock_is_never_the_only_wall(tier: Tier) -> None:
    judge(run_set("--tier", tier.value, "--ordinary-user", "--without-landlock"), tier, USERS[-1])


def test_every_class_of_attack_is_there() -> None:
    programs = hostile_programs()
    assert len(programs) >= 90
    assert {program.fields["Class"] for program in programs} == CLASSES
    assert {must for program in programs for must in program.musts} == set(MUSTS)
    numbers = [program.number for program in programs]
    assert numbers == [f"{rank:03}" for rank in range(1, len(programs) + 1)]


def test_each_program_is_filled_in_completely() -> None:
    with HostCanaries() as canaries:
        names = canaries.names("001")
    left = {program.name: re.findall(r"@[A-Z_]+@", program.filled(names)) for program in hostile_programs()}
    assert not {name: words for name, words in left.items() if words}


@pytest.mark.parametrize(
    ("docstring", "fault"),
    [
        ("Class: files\nMust: contained", "Status"),
        ("Class: files\nMust: be kind\nStatus: ok", "be kind"),
        ("Class: files\nMust: contained\nStatus: fine", "fine"),
        ("Class: files\nMust: contained\nStatus: ok\nHurry: 1", "Hurry"),
    ],
)
def test_a_program_without_a_sound_expectation_is_refused(tmp_path: Any, docstring: str, fault: str) -> None:
    path = tmp_path / "001_odd.py"
    path.write_text(f'"""Tries something.\n\n{docstring}\n"""\n')
    with pytest.raises(ValueError, match=fault):
        HostileProgram.read(path)
