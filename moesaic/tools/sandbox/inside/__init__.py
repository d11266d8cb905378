"""What runs in the zygote and in its children: the side of the sandbox that a hostile program shares a process with.

Modules here import the standard library and each other, nothing else: the zygote loads them without running the
packages above (see `moesaic.tools.sandbox.zygote_process`), so that it starts fast and holds nothing worth stealing.

zygote.py        the process that programs are forked from: set up once, then forks on demand and reaps
namespaces.py    an empty root, no network, no other processes (tier N)
landlock.py      rules for files, ports and signals, where the kernel has them
privileges.py    limits, capabilities, uids, the system-call filter
child.py         one forked child: every wall, then `ready`, then programs
messages.py      what the server says to the zygote and to children, and they to it
pools.py         memory laid out so that children copy fewer pages
program.py       runs a program and finds its value
json_value.py    a program's value as JSON
refusals.py      errors of a program in words: what failed, and which wall it met
modules.py       what is imported before programs are, and where packages may come from
libc.py          the system calls that Python has no function for
"""

__all__: list[str] = []
