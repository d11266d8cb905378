"""Answers with a list that holds itself.

Class: results
Must: plain
Status: error, ok
Value: anything
"""


def solution():
    circle: list[object] = [1]
    circle.append(circle)
    return {"circle": circle}
