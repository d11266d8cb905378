"""Doubles lists, texts and mappings until something gives, with nothing but the language itself.

Class: bombs
Must: bounded
Status: memory, error, timeout
Memory: 64
Timeout: 5
"""


def solution():
    things = [0]
    text = "x"
    table = {}
    for rank in range(40):
        things = things + things
        text = text + text
        table[text[:rank]] = things[:rank]
    return len(things) + len(text) + len(table)
