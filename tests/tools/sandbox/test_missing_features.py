"""Kernels that lack a wall: the next tier takes over, or nothing is run, and the reason is told.

The lack is simulated by a filter that a process lays on itself before it makes a sandbox: the calls fail with EPERM, as
they do in containers and under other people's filters.
"""

import json
import subprocess
import sys

import pytest

from moesaic.tools.sandbox import Tier
from tests.repository import ROOT
from tests.tools.sandbox.ordinary_user import run_as_ordinary_user

CALLS = {"unshare": 272, "mount": 165, "pivot_root": 155, "setns": 308, "seccomp": 317, "landlock_restrict_self": 446,
         "landlock_create_ruleset": 444, "setresuid": 117, "pidfd_open": 434, "capset": 126}  # fmt: skip

SCRIPT = """
import errno, json, sys
from moesaic.errors import SandboxUnavailableError
from moesaic.tools.sandbox import Sandbox, SandboxConfig, probe
from moesaic.tools.sandbox.bpf import ALLOW, assemble, errno_action
from moesaic.tools.sandbox.inside import libc, privileges
from moesaic.tools.sandbox.syscalls import machine
denied = {number: errno_action(errno.EPERM) for number in NUMBERS}
libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
privileges.Filter(
    assemble(denied, architecture=machine().architecture, default=ALLOW, other_tables_from=None)
).lay()
config = SandboxConfig(spares=0, timeout_s=60, heartbeat_s=60)  # the machine may be busy
report = probe(config).to_json()
try:
    with Sandbox(config) as sandbox:
        ran = {"tier": sandbox.tier, "value": sandbox.run("sum(range(4))").value}
except SandboxUnavailableError as error:
    ran = {"error": str(error)}
print(json.dumps({"report": report, "ran": ran}))
"""


def outcome(*denied: str, ordinary: bool = False) -> tuple[dict[str, dict[str, object]], dict[str, object]]:
    """What a process finds that may not make these calls: each tier's report, and how a sandbox fared."""
    script = SCRIPT.replace("NUMBERS", repr([CALLS[name] for name in denied]))
    if ordinary:
        done = run_as_ordinary_user(script, timeout_s=250)
    else:
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    return {report["tier"]: report for report in found["report"]["tiers"]}, found["ran"]


@pytest.mark.parametrize("ordinary", [False, True])
def test_with_everything_the_strongest_tier_is_chosen(ordinary: bool) -> None:
    tiers, ran = outcome(ordinary=ordinary)
    assert tiers["namespaces"]["holds"]
    assert tiers["seccomp"]["holds"]
    assert ran == {"tier": Tier.NAMESPACES, "value": 6}


@pytest.mark.parametrize("ordinary", [False, True])
@pytest.mark.parametrize("denied", ["unshare", "mount", "pivot_root", "setns"])
def test_without_namespaces_the_next_tier_takes_over(denied: str, ordinary: bool) -> None:
    tiers, ran = outcome(denied, ordinary=ordinary)
    assert not tiers["namespaces"]["holds"]
    assert denied in str(tiers["namespaces"]["reason"])
    assert ran == {"tier": Tier.SECCOMP, "value": 6}


@pytest.mark.parametrize("ordinary", [False, True])
@pytest.mark.parametrize("denied", ["seccomp", "pidfd_open", "capset"])
def test_without_a_filter_nothing_is_run(denied: str, ordinary: bool) -> None:
    tiers, ran = outcome(denied, ordinary=ordinary)
    assert not tiers["namespaces"]["holds"]
    assert not tiers["seccomp"]["holds"]
    text = str(ran["error"])
    assert "no program is run" in text
    assert "tier namespaces: " in text
    assert "tier seccomp: " in text
    assert "Operation not permitted" in text
    assert "monty" in text


def test_without_landlock_both_tiers_hold() -> None:
    tiers, ran = outcome("landlock_create_ruleset")
    assert [tiers[name]["landlock"] for name in ("namespaces", "seccomp")] == [0, 0]
    assert ran == {"tier": Tier.NAMESPACES, "value": 6}


def test_a_wall_that_only_the_child_cannot_lay_closes_the_tier() -> None:
    tiers, ran = outcome("landlock_restrict_self")
    assert not tiers["namespaces"]["holds"]
    assert not tiers["seccomp"]["holds"]
    assert "landlock_restrict_self" in str(ran["error"])
