"""Measurements behind the numbers in README and docs: one program per claim, run as `python -m benchmarks.NAME`.

Each prints tables, shows progress, and writes with `--json FILE` what `report.py` describes.
"""
