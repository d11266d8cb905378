"""Let a model answer by a program, which the sandbox runs: python examples/program_aided.py QUESTION [TARGET]."""

import sys

from moesaic.chains import ChatMoesaic
from moesaic.tools.sandbox import Sandbox

PROMPT = """Write a Python function solution() that returns the answer. Write the function alone, no explanation.

Question: {question}"""


def main(question: str, target: str = "127.0.0.1:50051") -> None:
    """Ask for a program, run it behind the sandbox's walls, and print both."""
    model = ChatMoesaic(target=target, temperature=0, max_tokens=400)
    written = model.invoke(PROMPT.format(question=question)).text.strip()
    program = written.removeprefix("```python").removesuffix("```").strip()
    with Sandbox() as sandbox:
        execution = sandbox.run(program, timeout_s=30)
    print(program)
    if execution.error is None:
        print(f"=> {execution.value}")
    else:
        print(f"=> {execution.status}: {execution.error.type}: {execution.error.message}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
