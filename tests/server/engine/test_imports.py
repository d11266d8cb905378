"""Importing the package of engines is cheap."""

import subprocess
import sys


def test_neither_torch_nor_vllm_is_loaded() -> None:
    program = (
        "import sys, moesaic.server.engine\n"
        "from moesaic.server.engine import *\n"
        "print(sorted({'torch', 'vllm', 'transformers', 'numpy', 'tokenizers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
