"""Raises an error whose name and text are Chinese.

Class: program text
Must: plain
Status: error
"""


class 错误(Exception):  # noqa: N801, N818
    pass


raise 错误("这里出了问题：😀")
