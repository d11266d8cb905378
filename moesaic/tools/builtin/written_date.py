"""Dates and times as people write them, in English and Chinese; what could mean two days is refused.

    2024-03-05, 2024/3/5, 5 March 2024, March 5th, 2024, 13/05/2024, 2024年3月5日, 二〇二四年三月五日
    … 15:30, … 3:30 pm, … 下午三点半, … Asia/Shanghai, … +08:00, … 北京时间
    now, today, tomorrow, 3 days ago, in 2 weeks, 今天, 后天, 三天前, 两周后

05/03/2024 is May 3rd here and 5 March there, and "next Monday" is another day for everybody: they are refused.
"""

import re
import unicodedata
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from moesaic.errors import ToolArgumentError
from moesaic.tools.builtin.chinese_numerals import chinese_number

__all__ = ["WEEKDAYS", "Moment", "time_zone", "written_moment"]

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
"""Names by their number, Monday first."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_DATES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})(?!\d)",
        r"(?P<year>\d{4})\s*年\s*(?P<month>\d{1,2})\s*月\s*(?P<day>\d{1,2})\s*[日号]?",
        rf"{_DAY}\s+(?:of\s+)?{_MONTH},?\s+(?P<year>\d{{4}})",
        rf"{_MONTH}\s+{_DAY},?\s+(?P<year>\d{{4}})",
        r"(?P<first>\d{1,2})([/.-])(?P<second>\d{1,2})\2(?P<year>\d{4})(?!\d)",
    )
)
_TIMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"[T\s,]*(?:at\s+)?(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d{1,9})?)?\s*(?P<half>[ap]\.?m\b\.?)?",
        r"[\s,]*(?:at\s+)?(?P<hour>\d{1,2})\s*(?P<half>[ap]\.?m\b\.?)",
        r"\s*(?P<half>凌晨|早上|上午|中午|下午|傍晚|晚上)?\s*(?P<hour>\d{1,2})\s*[点时:]\s*(?:整|(?P<thirty>半)"
        r"|(?P<minute>\d{1,2})\s*分?)?(?:\s*(?P<second>\d{1,2})\s*秒)?",
    )
)
_AFTERNOON = re.compile(r"p|中午|下午|傍晚|晚上", re.IGNORECASE)
_WEEKDAY = re.compile(
    r"^\s*(?P<name>mon|tues?|wed(?:nes)?|thu(?:rs)?|fri|sat(?:ur)?|sun)(?:day)?\b[,.\s]*(?=\S*\d)"
    r"|\s*\(?(?:星期|周|礼拜)(?P<sign>[一二三四五六日天])\)?",
    re.IGNORECASE,
)
_OFFSET = re.compile(r"(?:UTC|GMT)?\s*(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>\d{2})?", re.IGNORECASE)
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*")
_ZONES = {"z": "UTC", "utc": "UTC", "gmt": "UTC"} | {
    name: zone
    for names, zone in (
        ("北京时间 北京 上海 beijing", "Asia/Shanghai"),
        ("东京时间 东京 tokyo", "Asia/Tokyo"),
        ("纽约时间 纽约", "America/New_York"),
        ("伦敦时间 伦敦 london", "Europe/London"),
        ("巴黎时间 巴黎 paris", "Europe/Paris"),
        ("世界时 协调世界时", "UTC"),
    )
    for name in names.split()
}
_NAMED_DAYS = {
    name: days
    for names, days in (
        ("today 今天 今日", 0),
        ("tomorrow 明天 明日", 1),
        ("yesterday 昨天 昨日", -1),
        ("后天", 2),
        ("大后天", 3),
        ("前天", -2),
    )
    for name in names.split()
}
_NAMED_DAY = re.compile(
    "(?P<name>" + "|".join(sorted(_NAMED_DAYS, key=len, reverse=True)) + r")(?![a-z])", re.IGNORECASE
)
_AGO = re.compile(
    r"(?:(?P<before>in)\s+)?(?P<count>\d{1,6})\s*(?P<unit>days?|weeks?|hours?|minutes?|天|日|周|个?星期|个?小时|分钟)"
    r"\s*(?P<after>ago|from now|later|之?前|以?前|之?后|以?后)?",
    re.IGNORECASE,
)
_HOURS = {"d": 24, "天": 24, "日": 24, "w": 168, "周": 168, "星": 168, "h": 1, "小": 1}
_NUMERALS = re.compile(r"[〇零一二两三四五六七八九十]+")
_MOST_CHARACTERS = 100


class Moment(NamedTuple):
    """A day, or a moment of it."""

    when: datetime
    """With a time zone; midnight for a day."""
    has_time: bool


def time_zone(name: str) -> tzinfo:
    """A time zone by its name (Asia/Shanghai), its offset (+08:00), or a city (北京).

    Raises:
        ToolArgumentError: there is none of this name.
    """
    text = name.strip()
    if offset := _OFFSET.fullmatch(text):
        minutes = int(offset["hours"]) * 60 + int(offset["minutes"] or 0)
        if minutes >= 24 * 60:
            raise ToolArgumentError("zone", f"{name!r:.60} is no offset: -23:59 to +23:59")
        return timezone(timedelta(minutes=minutes if offset["sign"] == "+" else -minutes))
    known = _ZONES.get(text.casefold(), text)
    if known == "UTC":
        return UTC
    try:
        if not _ZONE_NAME.fullmatch(known):
            raise ValueError(known)
        return ZoneInfo(known)
    except (ValueError, OSError, KeyError) as error:
        raise ToolArgumentError(
            "zone", f"{name!r:.60} is no time zone; give a name such as Asia/Shanghai, or an offset such as +08:00"
        ) from error


def written_moment(text: str, now: datetime, zone: tzinfo) -> Moment:
    """The day or moment that a text names.

    Args:
        text: in any of the forms above.
        now: what relative dates count from.
        zone: where the text does not say.

    Raises:
        ToolArgumentError: it names none, or could mean several.
    """
    if len(text) > _MOST_CHARACTERS:
        raise _refused(text, f"has {len(text)} characters, at most {_MOST_CHARACTERS} are read")
    rest = unicodedata.normalize("NFKC", text).strip()
    rest = _NUMERALS.sub(lambda found: _digits(rest, found), rest)
    now = now.astimezone(zone)
    if rest.casefold() in ("now", "现在", "此刻"):
        return Moment(now.replace(microsecond=0), True)

    rest, weekday = _without_weekday(rest)
    if relative := _relative(rest, now):
        return relative
    day, rest = _day(rest, text, now)
    moment, rest = _time(rest, text, day)
    if rest.strip(" ,()"):
        own = time_zone(rest.strip(" ,()"))
        moment = Moment(moment.when.replace(tzinfo=own), moment.has_time)
    else:
        moment = Moment(moment.when.replace(tzinfo=zone), moment.has_time)
    if weekday is not None and moment.when.weekday() != weekday:
        raise _refused(text, f"contradicts itself: that day is a {WEEKDAYS[moment.when.weekday()]}")
    return moment


def _digits(text: str, found: re.Match[str]) -> str:
    """Chinese digits as Western ones; a weekday keeps its sign."""
    if text[: found.start()].endswith(("星期", "周", "礼拜")):
        return found[0]
    return str(chinese_number(found[0])).rjust(1)


def _without_weekday(text: str) -> tuple[str, int | None]:
    found = _WEEKDAY.search(text)
    if found is None:
        return text, None
    if found["name"]:
        weekday = [name[:3].lower() for name in WEEKDAYS].index(found["name"][:3].lower())
    else:
        weekday = "一二三四五六日天".index(found["sign"]) % 7 if found["sign"] != "天" else 6
    return (text[: found.start()] + " " + text[found.end() :]).strip(), weekday


def _relative(text: str, now: datetime) -> Moment | None:
    """So many days or hours from now."""
    found = _AGO.fullmatch(text)
    if found is None or not (found["before"] or found["after"]):
        return None
    past = (found["after"] or "").casefold() in ("ago", "前", "之前", "以前")
    unit = found["unit"].casefold().removeprefix("个")
    hours = _HOURS.get(unit[0], 0)
    span = timedelta(hours=hours * int(found["count"])) if hours else timedelta(minutes=int(found["count"]))
    try:
        when = (now.replace(tzinfo=None) if hours >= 24 else now.astimezone(UTC)) + (-span if past else span)
    except OverflowError as error:
        raise _refused(text, "is beyond the years 1 to 9999") from error
    if hours >= 24:
        return Moment(datetime(when.year, when.month, when.day, tzinfo=now.tzinfo), False)
    return Moment(when.astimezone(now.tzinfo).replace(microsecond=0), True)


def _day(rest: str, text: str, now: datetime) -> tuple[datetime, str]:
    """The day, and what follows it."""
    if named := _NAMED_DAY.match(rest):
        day = now.replace(tzinfo=None) + timedelta(days=_NAMED_DAYS[named["name"].casefold()])
        return datetime(day.year, day.month, day.day), rest[named.end() :]
    if compact := re.match(r"(\d{4})(\d{2})(\d{2})(?!\d)", rest):
        return _checked_day(text, *(int(part) for part in compact.groups())), rest[compact.end() :]
    for pattern in _DATES:
        if found := pattern.match(rest):
            parts = found.groupdict()
            if "first" in parts:
                month, day_number = _unambiguous(text, int(parts["first"]), int(parts["second"]))
            else:
                month, day_number = _month(parts["month"]), int(parts["day"])
            return _checked_day(text, int(parts["year"]), month, day_number), rest[found.end() :]
    raise _refused(text, "is no date that is understood; write it as 2024-03-05, 5 March 2024 or 2024年3月5日")


def _month(text: str) -> int:
    return int(text) if text.isdigit() else _MONTHS.index(text[:3].lower()) + 1


def _unambiguous(text: str, first: int, second: int) -> tuple[int, int]:
    """Month and day of 13/05/2024 or 05/13/2024; of 05/03/2024 nobody knows."""
    if first <= 12 and second <= 12 and first != second:
        raise _refused(text, "could be two days; write it as 2024-03-05")
    return (second, first) if first > 12 else (first, second)


def _checked_day(text: str, year: int, month: int, day: int) -> datetime:
    try:
        return datetime(year, month, day)
    except ValueError as error:
        raise _refused(text, f"is no day of the calendar ({error})") from error


def _time(rest: str, text: str, day: datetime) -> tuple[Moment, str]:
    """The moment, and what follows it."""
    for pattern in _TIMES:
        found = pattern.match(rest)
        if found is None:
            continue
        parts = found.groupdict()
        hour, half = int(parts["hour"]), parts["half"]
        if half and hour > 12 and half.isascii():
            raise _refused(text, f"has hour {hour} with {half}; write 24 hours, or 1 to 12")
        if half and _AFTERNOON.search(half) and hour < 12:
            hour += 0 if half == "中午" and hour > 10 else 12
        elif half and half.isascii() and hour == 12 and not _AFTERNOON.search(half):
            hour = 0
        minute = 30 if parts.get("thirty") else int(parts.get("minute") or 0)
        try:
            when = day.replace(hour=hour, minute=minute, second=int(parts.get("second") or 0))
        except ValueError as error:
            raise _refused(text, f"has no time of the day ({error})") from error
        return Moment(when, True), rest[found.end() :]
    return Moment(day, False), rest


def _refused(text: str, reason: str) -> ToolArgumentError:
    return ToolArgumentError("date", f"{text[:60]!r} {reason}")
