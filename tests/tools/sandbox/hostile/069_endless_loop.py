# mypy: ignore-errors
"""Never ends, and lets no error end it.

Class: bombs
Must: bounded
Status: timeout
Timeout: 1
"""

while True:
    try:
        while True:
            result = 1
    except BaseException as error:
        result = error
