r"""Programs that a model wrote, run behind walls.

    from moesaic.tools.sandbox import Sandbox, SandboxConfig

    with Sandbox() as sandbox:
        execution = sandbox.run("def solution():\n    return sum(range(10))")
        execution.status, execution.value, execution.stdout, execution.usage.wall_s

What it withstands and what it does not is told in docs/sandbox.md.

sandbox.py            Sandbox, what users call; config.py: its walls and limits; execution.py: what comes out
forked_programs.py    programs in forked children; monty.py: in another interpreter
tiers.py              which walls there are; tier_probe.py: which hold here; self_test.py: the attack that decides
nursery.py            one zygote and the children that it keeps ready, restarted and recycled
zygote_process.py     the server's side of a zygote; child_process.py: of a child; interpreter.py: where Python lies
conversation.py       programs sent to a child; exchange.py: the bytes; result_frame.py: hostile bytes taken apart
places.py             how many at once; cancellation.py: giving up; given_files.py: files for a program
bpf.py, syscalls.py   the system-call filter: its assembler, and what it lets through
langchain_tool.py     PythonSandboxTool
inside/               the other side: what runs in the zygote and its children
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesaic.tools.sandbox.config import SandboxConfig, Tier
    from moesaic.tools.sandbox.execution import Execution, ExecutionStatus, ProgramError, Usage
    from moesaic.tools.sandbox.langchain_tool import PythonSandboxTool
    from moesaic.tools.sandbox.sandbox import Sandbox
    from moesaic.tools.sandbox.tier_probe import ProbeReport, TierReport, probe

__all__ = [
    "Execution",
    "ExecutionStatus",
    "ProbeReport",
    "ProgramError",
    "PythonSandboxTool",
    "Sandbox",
    "SandboxConfig",
    "Tier",
    "TierReport",
    "Usage",
    "probe",
]

_MODULES = {
    "config": ("SandboxConfig", "Tier"),
    "execution": ("Execution", "ExecutionStatus", "ProgramError", "Usage"),
    "langchain_tool": ("PythonSandboxTool",),
    "tier_probe": ("ProbeReport", "TierReport", "probe"),
    "sandbox": ("Sandbox",),
}


def __getattr__(name: str) -> Any:
    """Bring a class when it is asked for: none of the processes' side is loaded for its name alone."""
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
