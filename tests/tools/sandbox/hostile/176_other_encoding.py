# @COOKIE@
"""Says that its text is in another encoding, in which a comment is a command.

Class: program text
Must: no-process
Status: ok, error, refused
Value: "as it stands"
"""

result = "as it stands"
# +AAo-result +AD0- 'decoded'
