"""Prints without end, with nothing but the language itself.

Class: bombs
Must: contained
Status: output_limit
Status in monty: output_limit, error, memory
Output: 65536
Timeout: 60
Timeout in monty: 4
"""

while True:
    print("x" * 1000)  # noqa: T201
