"""Ends by what is no ordinary error: an interruption that looks like the user's.

Class: exits
Must: contained
Status: error, no_result
"""


class Interrupted(KeyboardInterrupt):
    def __str__(self):
        raise GeneratorExit("no text")


raise Interrupted
