"""Is no program.

Class: program text
Must: contained
Status: error, refused
"""

# @LINE@def solution(:
result = 1
