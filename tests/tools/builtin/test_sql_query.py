"""Tables can be asked, and nothing else: each wall is tried."""

import sqlite3
import time
from pathlib import Path

import pytest

from moesaic.errors import InputError, ToolArgumentError, ToolError
from moesaic.tools import CallStatus, Toolbox, ToolCall, ToolContext
from moesaic.tools.builtin import QueryLimits, ReadOnlyDatabase, SqlQuery

HERE = ToolContext.here()
CSV = '\ufeffcity,people,share,code,城市\nBonn,336465,0.5,007,波恩\nKöln,1084831,,1e5,"科隆, 大"\n\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shop.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(
        """
        CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, amount REAL);
        INSERT INTO orders VALUES (1, 'Ada', 9.5), (2, '李', 20), (3, 'Ada', NULL);
        CREATE VIEW large AS SELECT * FROM orders WHERE amount > 10;
        """
    )
    connection.close()
    return path


@pytest.fixture(params=["file", "csv"])
def database(request: pytest.FixtureRequest, file: Path, tmp_path: Path) -> ReadOnlyDatabase:
    if request.param == "file":
        return ReadOnlyDatabase.open(file)
    (tmp_path / "orders.csv").write_text("id,customer,amount\n1,Ada,9.5\n2,李,20\n3,Ada,\n")
    return ReadOnlyDatabase.of_csv({"orders": tmp_path / "orders.csv"})


def test_questions_are_answered(database: ReadOnlyDatabase) -> None:
    found = database.query(
        "SELECT customer, sum(amount) AS total FROM orders WHERE id < ? GROUP BY customer ORDER BY total DESC", [9]
    )
    assert found == (("customer", "total"), [("李", 20), ("Ada", 9.5)], False)
    assert database.query("WITH a AS (SELECT 1 AS n) SELECT n FROM a").rows == [(1,)]
    assert "orders" in database.schema()


def test_csv_files_become_tables(tmp_path: Path) -> None:
    (tmp_path / "cities.csv").write_text(CSV, encoding="utf-8")
    with ReadOnlyDatabase.of_csv({"cities": tmp_path / "cities.csv"}) as database:
        found = database.query("SELECT * FROM cities ORDER BY people")
    assert found.columns == ("city", "people", "share", "code", "城市")
    assert found.rows == [("Bonn", 336465, 0.5, "007", "波恩"), ("Köln", 1084831, None, "1e5", "科隆, 大")]


FORBIDDEN = [
    "INSERT INTO orders VALUES (4, 'Eve', 1)",
    "UPDATE orders SET amount = 0",
    "DELETE FROM orders",
    "DROP TABLE orders",
    "CREATE TABLE loot (x)",
    "CREATE TEMP TABLE loot (x)",
    "ALTER TABLE orders RENAME TO x",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "PRAGMA table_info(orders)",
    "SELECT * FROM pragma_table_info('orders')",
    "ATTACH '/tmp/other.sqlite' AS other",
    "ATTACH ':memory:' AS other",
    "VACUUM INTO '/tmp/copy.sqlite'",
    "VACUUM",
    "REINDEX",
    "ANALYZE",
    "BEGIN",
    "SAVEPOINT a",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT writefile('/tmp/x', 'y')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT randomblob(10)",
    "SELECT zeroblob(10)",
    "SELECT printf('%.*c', 2000000000, 'x')",
    "SELECT format('%2000000000d', 1)",
    "SELECT sqlite_compileoption_get(1)",
    "SELECT 1; DROP TABLE orders",
    "EXPLAIN SELECT 1; DELETE FROM orders",
    "REPLACE INTO orders VALUES (1, 'Eve', 1)",
    "WITH a AS (SELECT 1) DELETE FROM orders",
    "SELECT * FROM orders UNION SELECT load_extension('a'), 1, 2",
    "CREATE VIRTUAL TABLE f USING fts5(x)",
    "",
    "-- nothing",
    "nonsense",
    "SELECT * FROM nowhere",
    "SELECT ?",
    "SELECT \0 1",
]


@pytest.mark.parametrize("sql", FORBIDDEN)
def test_only_reading_is_possible(database: ReadOnlyDatabase, sql: str) -> None:
    before = database.query("SELECT * FROM orders").rows
    with pytest.raises(ToolArgumentError, match="sql: "):
        database.query(sql)
    assert database.query("SELECT * FROM orders").rows == before
    assert not Path("/tmp/copy.sqlite").exists()
    assert not Path("/tmp/other.sqlite").exists()


def test_a_file_stays_as_it_is(file: Path) -> None:
    before = file.read_bytes()
    database = ReadOnlyDatabase.open(file)
    database.query("SELECT * FROM large")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_a_view_of_the_file_cannot_do_what_a_query_cannot(file: Path) -> None:
    connection = sqlite3.connect(file)
    connection.execute("CREATE VIEW trap AS SELECT load_extension('x') AS a")
    connection.commit()
    connection.close()
    with pytest.raises(ToolArgumentError):
        ReadOnlyDatabase.open(file).query("SELECT * FROM trap")


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT "


@pytest.mark.parametrize("limits", [QueryLimits(timeout_s=0.05), QueryLimits(steps=100_000)], ids=["time", "steps"])
def test_endless_queries_end(file: Path, limits: QueryLimits) -> None:
    database = ReadOnlyDatabase.open(file, limits=limits)
    began = time.monotonic()
    with pytest.raises(ToolError, match="ask for less"):
        database.query(ENDLESS + "count(*) FROM n")
    assert time.monotonic() - began < 30
    assert database.query("SELECT 1").rows == [(1,)]


def test_texts_cannot_take_all_memory(database: ReadOnlyDatabase) -> None:
    doubled = "WITH RECURSIVE d(s) AS (SELECT 'xxxxxxxx' UNION ALL SELECT s || s FROM d) SELECT "
    for sql in (
        doubled + "count(*) FROM d",
        doubled + "length(replace(s, 'x', 'xxxxxxxx')) FROM (SELECT s FROM d LIMIT 1 OFFSET 18)",
    ):
        with pytest.raises(ToolArgumentError, match="too big"):
            database.query(sql)


def test_results_are_limited(file: Path) -> None:
    rows = ReadOnlyDatabase.open(file, limits=QueryLimits(rows=2)).query("SELECT * FROM orders")
    assert (len(rows.rows), rows.truncated) == (2, True)
    few = ReadOnlyDatabase.open(file, limits=QueryLimits(result_bytes=100))
    large = few.query(f"SELECT '{'x' * 90}' FROM orders")
    assert (len(large.rows), large.truncated) == (1, True)


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "not.sqlite").write_text("this is no database at all, but long enough to look at" * 50)
    for name in ("not.sqlite", "gone.sqlite"):
        with pytest.raises(InputError):
            ReadOnlyDatabase.open(tmp_path / name)
    for text in ("", "a,a\n1,2\n", "a,b\n1\n", 'a\n"open\n', "a\n" + "\udcff"):
        (tmp_path / "bad.csv").write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(InputError):
            ReadOnlyDatabase.of_csv({"bad": tmp_path / "bad.csv"})
    (tmp_path / "good.csv").write_text("a\n1\n")
    for name, limits in (('a"; DROP', None), ("good", QueryLimits(table_bytes=2))):
        with pytest.raises(InputError):
            ReadOnlyDatabase.of_csv({name: tmp_path / "good.csv"}, limits=limits)


async def test_the_tool_shows_tables(database: ReadOnlyDatabase) -> None:
    tool = SqlQuery(database)
    assert "orders" in tool.description
    box = Toolbox([tool])
    outcome = await box.call(
        ToolCall(name="sql", arguments={"sql": "SELECT id, amount FROM orders WHERE id > ?", "parameters": [1]}), HERE
    )
    assert outcome.content.splitlines()[0] == "id | amount"
    assert outcome.content.endswith("3 | NULL\n(2 rows)")
    assert outcome.result is not None
    assert outcome.result.artifact["rows"][1] == [3, None]
    refused = await box.call(ToolCall(name="sql", arguments={"sql": "DROP TABLE orders"}), HERE)
    assert refused.status is CallStatus.INVALID
    assert "only SELECT" in refused.content
