"""Has built-in functions go through a range that never ends, where no line of the program is run.

Class: bombs
Must: bounded
Status: timeout
Status in monty: timeout, error, memory
Timeout: 1
"""

result = sum(number * number % 7 for number in range(10**13)) + max(range(10**13)) + len(set(range(10**13)))
