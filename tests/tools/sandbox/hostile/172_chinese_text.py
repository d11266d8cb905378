"""Is written in Chinese: 名称、文本、输出都是中文.

Class: program text
Must: plain
Status: ok
Value: {"答案": ["三分之一", 42]}
"""

import sys

数量 = 42


def solution():
    sys.stdout.write("输出：中文😀\n")
    return {"答案": ["三分之一", 数量]}
