"""Dates: what people write is read or refused, never guessed; reckoning agrees with the calendar."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moesaic.errors import ToolArgumentError
from moesaic.tools import ToolContext
from moesaic.tools.builtin.date_time import DateTime, DateTimeArguments
from moesaic.tools.builtin.written_date import time_zone, written_moment

NOW = datetime(2024, 3, 5, 14, 30, 15, tzinfo=UTC)  # a Tuesday
HERE = ToolContext.here()


async def told(**arguments: object) -> str:
    result = await DateTime(lambda: NOW).call(DateTimeArguments.model_validate(arguments), HERE)
    return result.content


DAYS = [
    "2024-03-05",
    "2024/3/5",
    "2024.03.05",
    "20240305",
    "5 March 2024",
    "5th of march 2024",
    "March 5, 2024",
    "Mar 5th 2024",
    "Tuesday, 5 March 2024",
    "05/05/2024",
    "2024年3月5日",
    "二〇二四年三月五日",
    "２０２４年３月５号",
    "2024年3月5日 星期二",
    "today",
    "今天",
    "2 days ago",
    "in 2 weeks",
    "三天后",
    "大后天",
    "yesterday",
]
MEANT = {"05/05/2024": "2024-05-05", "2 days ago": "2024-03-03", "in 2 weeks": "2024-03-19", "三天后": "2024-03-08"}
MEANT |= {"大后天": "2024-03-08", "yesterday": "2024-03-04"}


@pytest.mark.parametrize("text", DAYS)
async def test_days(text: str) -> None:
    day = date.fromisoformat(MEANT.get(text, "2024-03-05"))
    assert await told(date=text) == f"{day} ({day:%A})"


MOMENTS = {
    "now": "2024-03-05T14:30:15+00:00",
    "2024-03-05 15:30": "2024-03-05T15:30:00+00:00",
    "2024-03-05T15:30:10Z": "2024-03-05T15:30:10+00:00",
    "2024-03-05 15:30 +08:00": "2024-03-05T15:30:00+08:00",
    "5 March 2024 at 3:30 pm": "2024-03-05T15:30:00+00:00",
    "March 5, 2024, 12 am": "2024-03-05T00:00:00+00:00",
    "tomorrow 9:05": "2024-03-06T09:05:00+00:00",
    "2024-03-05 15:30 Asia/Shanghai": "2024-03-05T15:30:00+08:00",
    "2024年3月5日下午三点半": "2024-03-05T15:30:00+00:00",
    "2024年3月5日 15时30分20秒 北京时间": "2024-03-05T15:30:20+08:00",
    "明天上午九点": "2024-03-06T09:00:00+00:00",
    "今天中午十二点": "2024-03-05T12:00:00+00:00",
    "3小时前": "2024-03-05T11:30:15+00:00",
    "90 minutes from now": "2024-03-05T16:00:15+00:00",
}


@pytest.mark.parametrize(("text", "moment"), MOMENTS.items(), ids=list(MOMENTS))
def test_moments(text: str, moment: str) -> None:
    found = written_moment(text, NOW, UTC)
    assert (found.when.isoformat(), found.has_time) == (moment, True)


REFUSALS = {
    "05/03/2024": "two days",
    "next Monday": "no date",
    "": "no date",
    "2024-02-30": "no day of the calendar",
    "2024-13-01": "no day of the calendar",
    "5 March 2024 25:00": "no time of the day",
    "5 March 2024 15:00 pm": "hour 15",
    "Monday, 5 March 2024": "is a Tuesday",
    "2024年3月5日 星期三": "is a Tuesday",
    "2024-03-05 15:30 Mars/Olympus": "no time zone",
    "2024-03-05 ../../etc/passwd": "no time zone",
    "999999 weeks ago": "beyond the years",
    "x" * 101: "at most 100",
}


@pytest.mark.parametrize(("text", "said"), REFUSALS.items(), ids=list(REFUSALS))
def test_what_is_no_date_is_refused(text: str, said: str) -> None:
    with pytest.raises(ToolArgumentError, match=said):
        written_moment(text, NOW, UTC)


async def test_adding() -> None:
    assert await told(operation="add", date="2024-01-31", amount=1, unit="month") == "2024-02-29 (Thursday)"
    assert await told(operation="add", date="2024-02-29", amount=-1, unit="year") == "2023-02-28 (Tuesday)"
    assert await told(operation="add", date="2024年1月31日", amount=2, unit="week") == "2024-02-14 (Wednesday)"
    night = {"date": "2024-03-31 01:30", "zone": "Europe/Berlin", "operation": "add", "amount": 1}
    assert await told(**night, unit="hour") == "2024-03-31 03:30:00+02:00 (Sunday, Europe/Berlin)"
    assert await told(**night, unit="day") == "2024-04-01 01:30:00+02:00 (Monday, Europe/Berlin)"


async def test_differences() -> None:
    span = {"operation": "difference", "date": "2023-12-25", "other": "2024-03-05"}
    assert await told(**span) == "71 days"
    assert await told(**span, unit="week") == "10.14285714 weeks"
    assert await told(**span, unit="month") == "2 whole months (2 m, 9 d)"
    assert (
        await told(operation="difference", date="2024-03-05", other="2023-03-05", unit="year")
        == "-1 whole years (-1 y)"
    )
    assert await told(operation="difference", date="明天 9:00", other="明天 10:30", unit="minute") == "90 minutes"
    zones = {"date": "2024-03-05 12:00 +08:00", "other": "2024-03-05 12:00 +00:00"}
    assert await told(operation="difference", **zones, unit="hour") == "8 hours"


async def test_converting() -> None:
    asked = {"operation": "convert", "date": "2024-07-01 12:00", "zone": "北京"}
    assert await told(**asked, to_zone="America/New_York") == "2024-07-01 00:00:00-04:00 (Monday, America/New_York)"


@pytest.mark.parametrize(
    "arguments",
    [
        {"operation": "difference"},
        {"operation": "convert"},
        {"operation": "add", "date": "9999-12-31", "amount": 1},
        {"operation": "add", "date": "0001-01-01", "amount": -1, "unit": "month"},
        {"zone": "+99:00"},
    ],
    ids=str,
)
async def test_what_makes_no_sense_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ToolArgumentError):
        await told(**arguments)


@given(st.dates(min_value=date(1000, 1, 1)))
def test_every_way_of_writing_means_the_same(day: date) -> None:
    for text in (
        day.isoformat(),
        f"{day:%d %B %Y}",
        f"{day:%B} {day.day}, {day.year}",
        f"{day.year}年{day.month}月{day.day}日",
    ):
        assert written_moment(text, NOW, UTC).when.date() == day


@given(st.datetimes(datetime(1950, 1, 1), datetime(2090, 1, 1)), st.integers(-10_000, 10_000))
async def test_adding_days_is_undone_by_the_difference(when: datetime, days: int) -> None:
    text = f"{when:%Y-%m-%d}"
    later = (await told(operation="add", date=text, amount=days)).split(" ")[0]
    assert date.fromisoformat(later) - when.date() == timedelta(days=days)
    assert (await told(operation="difference", date=text, other=later)).split(" ")[0] == str(days)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert written_moment(text, NOW, UTC).when.tzinfo is not None
    except ToolArgumentError as error:
        assert error.field in ("date", "zone", "")  # noqa: PT017


def test_zones() -> None:
    assert str(time_zone("Asia/Shanghai")) == "Asia/Shanghai"
    assert NOW.astimezone(time_zone("-03:30")).utcoffset() == timedelta(hours=-3.5)
