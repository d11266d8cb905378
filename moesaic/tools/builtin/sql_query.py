"""`SqlQuery`: questions to tables, as SELECT statements that can only read."""

import asyncio

from pydantic import Field

from moesaic.errors import DeadlineExceededError
from moesaic.tools.builtin.read_only_database import ReadOnlyDatabase, Table
from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult

__all__ = ["SqlArguments", "SqlQuery"]

_MAX_SCHEMA = 4000


class SqlArguments(ToolArguments):
    """The query."""

    sql: str = Field(min_length=1, max_length=10_000, description="One SELECT in SQLite's dialect")
    parameters: list[str | int | float | None] = Field(
        default_factory=list, max_length=100, description="Values for each ? of the query"
    )


class SqlQuery(Tool[SqlArguments]):
    """Asks one database; the tables' definitions are part of the description.

    Args:
        database: whoever opened it closes it.
        name: of the tool, where there are several databases.
    """

    arguments = SqlArguments
    text_argument = "sql"
    idempotent = True

    def __init__(self, database: ReadOnlyDatabase, *, name: str = "sql") -> None:
        self._database = database
        self.name = name
        schema = database.schema()
        schema = schema if len(schema) <= _MAX_SCHEMA else schema[:_MAX_SCHEMA] + " …"
        self.description = f"Query tables with one SELECT statement (SQLite). The tables:\n{schema}"
        self.description_zh = f"用一条 SELECT 语句（SQLite）查询数据表。数据表定义：\n{schema}"
        self.timeout_s = database.limits.timeout_s + 1.0  # the database's own limit strikes first, and says why

    async def call(self, arguments: SqlArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        if context.remaining_s(self._database.limits.timeout_s) <= 0:
            raise DeadlineExceededError("no time is left for a query")
        table = await asyncio.to_thread(self._database.query, arguments.sql, tuple(arguments.parameters))
        return ToolResult(
            content=_shown(table),
            artifact={"columns": list(table.columns), "rows": [list(row) for row in table.rows]}
            | {"truncated": table.truncated},
        )


def _shown(table: Table) -> str:
    """A table of lines with bars, as models have seen many."""
    lines = [" | ".join(table.columns), *(" | ".join(_cell(value) for value in row) for row in table.rows)]
    count = f"({len(table.rows)} row{'' if len(table.rows) == 1 else 's'}{', and more' if table.truncated else ''})"
    return "\n".join([*lines, count])


def _cell(value: object) -> str:
    return "NULL" if value is None else " ".join(str(value).split()).replace("|", "\\|")
