"""Has half of a surrogate pair in its text, which no encoding can carry.

Class: program text
Must: plain
Status: ok, error, refused
Value: anything
"""

result = "@SURROGATE@"
