"""Has a null character in its text.

Class: program text
Must: contained
Status: ok, error, refused
Value: [1, 2]
"""

# here@NUL@and here
result = [1, 2]
