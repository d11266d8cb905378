# mypy: ignore-errors
"""Climbs from a literal to every class of the interpreter, and from there to modules that open files and processes.

Class: introspection
Must: no-host-file, no-process, no-secret
Status: ok
Value: []
"""


def classes():
    return ().__class__.__base__.__subclasses__()


def reach(name):
    for cls in classes():
        scope = getattr(getattr(cls, "__init__", None), "__globals__", {})
        if name in scope:
            return scope[name]
    raise LookupError(name)


def attempts():
    yield "os.system", lambda: 1 / (reach("os").system("true") == 0)
    yield "open", lambda: reach("__builtins__")["open"]("@FILE@").read()
    yield "format", lambda: "{.__class__.__init__.__globals__[os]}".format(reach("os").environ)[:0] or 1 / 0
    yield "loader", lambda: next(c for c in classes() if c.__name__ == "FileLoader")("x", "@FILE@").get_data("@FILE@")


def solution():
    succeeded = []
    for name, attempt in attempts():
        try:
            attempt()
        except Exception:
            continue
        succeeded.append(name)
    return succeeded
