"""Tools that come with Moesaic, each ready for a `Toolbox`.

    from moesaic.tools.builtin import Calculator, DateTime, KnowledgeLookup, ReadOnlyDatabase, SqlQuery

    sales = ReadOnlyDatabase.of_csv({"sales": "sales.csv"})
    Toolbox([Calculator(), DateTime(), KnowledgeLookup(base), SqlQuery(sales)])

calculator.py           exact arithmetic and units: expression.py, expression_text.py, exact_numbers.py, units.py
chinese_numerals.py     numbers written in Chinese
date_time.py            dates and times; written_date.py: as people write them
knowledge_lookup.py     passages of a knowledge base
web_search.py           search engines; page_reader.py: pages of the web
python_program.py       programs, in the sandbox
sql_query.py            tables; read_only_database.py: that can only be read

What they reach for (a base, a search engine, a sandbox) is given to them, and belongs to whoever opened it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moesaic.tools.builtin.calculator import Calculator
    from moesaic.tools.builtin.date_time import DateTime
    from moesaic.tools.builtin.knowledge_lookup import KnowledgeLookup
    from moesaic.tools.builtin.page_reader import PageReader
    from moesaic.tools.builtin.python_program import PythonProgram
    from moesaic.tools.builtin.read_only_database import QueryLimits, ReadOnlyDatabase
    from moesaic.tools.builtin.sql_query import SqlQuery
    from moesaic.tools.builtin.web_search import WebSearch

__all__ = [
    "Calculator",
    "DateTime",
    "KnowledgeLookup",
    "PageReader",
    "PythonProgram",
    "QueryLimits",
    "ReadOnlyDatabase",
    "SqlQuery",
    "WebSearch",
]

_MODULES = {
    "calculator": ("Calculator",),
    "date_time": ("DateTime",),
    "knowledge_lookup": ("KnowledgeLookup",),
    "page_reader": ("PageReader",),
    "python_program": ("PythonProgram",),
    "read_only_database": ("QueryLimits", "ReadOnlyDatabase"),
    "sql_query": ("SqlQuery",),
    "web_search": ("WebSearch",),
}


def __getattr__(name: str) -> Any:
    """Bring a class when it is asked for."""
    module = next((module for module, names in _MODULES.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)
