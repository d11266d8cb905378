"""`DateTime`: what day it is, what day it will be, how long it is until then, and what time it is elsewhere.

Days and longer units follow the calendar (a month after January 31st is the last day of February), hours and shorter
ones the clock that knows no summer time: one hour after 01:30 in the night of the change is one hour later.
"""

import calendar
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from moesaic.errors import ToolArgumentError
from moesaic.tools.builtin.written_date import WEEKDAYS, Moment, time_zone, written_moment
from moesaic.tools.tool import Tool, ToolArguments
from moesaic.tools.tool_context import ToolContext
from moesaic.tools.tool_result import ToolResult

__all__ = ["DateTime", "DateTimeArguments"]

Unit = Literal["year", "month", "week", "day", "hour", "minute", "second"]

_SECONDS = {"week": 604_800, "day": 86_400, "hour": 3600, "minute": 60, "second": 1}


class DateTimeArguments(ToolArguments):
    """Which day, and what about it."""

    operation: Literal["parse", "add", "difference", "convert"] = Field(
        default="parse",
        description="parse: the date and its weekday; add: amount units; difference: until other; convert: to_zone",
    )
    date: str = Field(
        default="now",
        max_length=100,
        description="now, today, 2024-03-05 15:30, 5 March 2024, 2024年3月5日, 3 days ago",
    )
    other: str = Field(default="", max_length=100, description="difference: the second date")
    amount: int = Field(default=0, ge=-1_000_000, le=1_000_000, description="add: how many; negative goes back")
    unit: Unit = Field(default="day", description="add: of what; difference: in what")
    zone: str = Field(default="UTC", max_length=60, description="Time zone of dates that name none")
    to_zone: str = Field(default="", max_length=60, description="convert: the zone to tell the time of")


class DateTime(Tool[DateTimeArguments]):
    """Reckons with dates.

    Args:
        clock: tells the time, with a time zone.
    """

    name = "date_time"
    description = (
        "Tell the current date and time, read a date and its weekday, add to a date, tell the time between two dates, "
        "or convert between time zones. English and Chinese dates are read."
    )
    description_zh = "查询当前日期和时间、星期几，日期加减，两个日期之间的时间，时区换算。可读中英文日期。"
    arguments = DateTimeArguments
    text_argument = "date"
    idempotent = True
    gives_foreign_text = False

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock

    async def call(self, arguments: DateTimeArguments, context: ToolContext) -> ToolResult:
        """See `Tool.call`."""
        zone, now = time_zone(arguments.zone), self._clock()
        moment = written_moment(arguments.date, now, zone)
        if arguments.operation == "difference":
            if not arguments.other:
                raise ToolArgumentError("other", "difference needs a second date")
            return _difference(moment, written_moment(arguments.other, now, zone), arguments.unit)
        try:
            if arguments.operation == "add":
                moment = _added(moment, arguments.amount, arguments.unit)
            elif arguments.operation == "convert":
                if not arguments.to_zone:
                    raise ToolArgumentError("to_zone", "convert needs the zone to convert to")
                moment = Moment(moment.when.astimezone(time_zone(arguments.to_zone)), True)
        except (OverflowError, ValueError) as error:
            if isinstance(error, ToolArgumentError):
                raise
            raise ToolArgumentError("amount", "the result is beyond the years 1 to 9999") from error
        return _told(moment)


def _told(moment: Moment) -> ToolResult:
    when = moment.when
    weekday = WEEKDAYS[when.weekday()]
    artifact: dict[str, Any] = {
        "date": when.date().isoformat(),
        "weekday": weekday,
        "weekday_number": when.isoweekday(),
        "week": when.isocalendar().week,
        "day_of_year": when.timetuple().tm_yday,
    }
    if not moment.has_time:
        return ToolResult(content=f"{artifact['date']} ({weekday})", artifact=artifact)
    artifact |= {"time": when.isoformat(), "zone": str(when.tzinfo)}
    return ToolResult(content=f"{when.isoformat(sep=' ')} ({weekday}, {when.tzinfo})", artifact=artifact)


def _added(moment: Moment, amount: int, unit: Unit) -> Moment:
    when = moment.when
    if unit in ("year", "month"):
        months = when.year * 12 + when.month - 1 + amount * (12 if unit == "year" else 1)
        year, month = divmod(months, 12)
        if not 1 <= year <= 9999:
            raise OverflowError(year)
        day = min(when.day, calendar.monthrange(year, month + 1)[1])
        return Moment(when.replace(year=year, month=month + 1, day=day), moment.has_time)
    span = timedelta(seconds=_SECONDS[unit] * amount)
    if unit in ("week", "day"):
        return Moment(when + span, moment.has_time)  # on the wall clock of its zone
    return Moment((when.astimezone(UTC) + span).astimezone(when.tzinfo), True)


def _difference(first: Moment, second: Moment, unit: Unit) -> ToolResult:
    """The time from the first to the second; negative if it lies before."""
    if first.has_time or second.has_time:
        seconds = round((second.when - first.when).total_seconds())
    else:
        seconds = (second.when.date() - first.when.date()).days * 86_400
    sign = -1 if seconds < 0 else 1
    early, late = (first, second) if sign > 0 else (second, first)
    years, months, days = _calendar_span(early.when, late.when.astimezone(early.when.tzinfo))
    artifact = {"seconds": seconds, "days": seconds / 86_400, "years": years, "months": months, "rest_days": days}
    if unit in ("year", "month"):
        whole = sign * (years if unit == "year" else years * 12 + months)
        words = ", ".join(f"{count} {name}" for count, name in ((years, "y"), (months, "m"), (days, "d")) if count)
        return ToolResult(
            content=f"{whole} whole {unit}s ({'-' if sign < 0 else ''}{words or '0 d'})", artifact=artifact
        )
    count = seconds / _SECONDS[unit]
    return ToolResult(content=f"{count:.10g} {unit}{'' if count == 1 else 's'}", artifact=artifact)


def _calendar_span(early: datetime, late: datetime) -> tuple[int, int, int]:
    """Whole years, months and days between two moments, as a calendar counts them."""
    months = (late.year - early.year) * 12 + late.month - early.month
    while months and _added(Moment(early, True), months, "month").when > late:
        months -= 1
    start = _added(Moment(early, True), months, "month").when
    return months // 12, months % 12, (late - start).days
