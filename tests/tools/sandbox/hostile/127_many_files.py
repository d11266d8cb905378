"""Makes 5000 empty files and folders wherever it may. Answers with how many there are.

Class: files
Must: no-host-file
Status: ok, error
Files: yes
Value: at most 2048
Timeout: 60
"""

import os


def solution():
    made = 0
    for folder in (".", "/tmp", "/dev/shm", "/w"):
        try:
            for number in range(2500):
                os.close(os.open(os.path.join(folder, f"@MARK@-{number}"), os.O_CREAT | os.O_WRONLY))
                made += 1
        except OSError:
            continue
        if made > 5000:
            break
    return made
