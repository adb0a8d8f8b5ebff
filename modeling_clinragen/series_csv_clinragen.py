# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""A patient's series as a CSV table, in the wide or the long layout."""

import csv
import io
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import numpy as np

from .clinical_clinragen import ClinRaGenInputError
from .conversions_clinragen import SAME, SPELLED, Scale, known_scale, plain_unit
from .fields_clinragen import did_you_mean, plain_name


UNIT_ROWS = ("unit", "units", "h", "hour", "hours")  # cells under `hour` that mark a row of units
LONGEST = 24 * 365 * 100  # hours; beyond are seconds or milliseconds since 1970
NO_HOURS = "over a hundred years; give hours since ICU admission, not seconds or milliseconds since 1970"
SAVE_AGAIN = "save the table as CSV with commas, in UTF-8"


class SeriesTable:
    """
    The columns of a table of measurements, by its header: wide, `hour` and one column for each channel, or long,
    `hour,channel,value` and, optionally, `unit`. Names are compared without regard to case, spaces and punctuation.

    Args:
        channels (`list[dict]`): channels of the feature extractor.
        header (`list[str]`): names of the columns, in any order.
        where (`str`): place of the header in error messages.
        beside (`Sequence[str]`): other columns that the file may have, for hints at misspellings.

    Raises:
        ClinRaGenInputError: if there is no column `hour`, or a column is unknown or duplicated.
    """

    def __init__(self, channels: list[dict], header: list[str], where: str = "line 1", beside: Sequence[str] = ()):
        self._channels = channels
        self.channels = [channel["name"] for channel in channels]
        self.header = [name.strip()[:60] for name in header]
        plain = [plain_name(name) for name in self.header]
        self._position = {plain_name(name): position for position, name in enumerate(self.channels)}
        if "hour" not in plain:
            self._refuse_without_hour(where)
        self._hour = plain.index("hour")
        self.is_long = set(plain) - {"unit"} == {"hour", "channel", "value"} and "channel" not in self._position
        if self.is_long:
            self._channel, self._value = plain.index("channel"), plain.index("value")
            self._unit = plain.index("unit") if "unit" in plain else None
        for column, name in enumerate(plain):
            if name in plain[:column]:
                raise ClinRaGenInputError(f"{where}: two columns are named {self.header[column]!r}; leave one of them")
            if not self.is_long and name != "hour" and name not in self._position:
                hint = did_you_mean(self.header[column], (*beside, "hour", *self.channels))
                raise ClinRaGenInputError(
                    f"{where}: unknown column {self.header[column]!r}{hint}; columns are hour and any of "
                    f"{', '.join(self.channels)}, or hour, channel and value"
                )
        self._columns = [(column, self._position.get(name)) for column, name in enumerate(plain) if name != "hour"]
        self._scales: dict[int, Scale] = {}  # by column, for a wide table with a row of units

    def _refuse_without_hour(self, where: str):
        for name, sign in (("semicolons", ";"), ("tabs", "\t")):
            if len(self.header) == 1 and sign in self.header[0]:
                raise ClinRaGenInputError(f"{where}: the columns are separated by {name}; {SAVE_AGAIN}")
        raise ClinRaGenInputError(
            f"{where}: no header with a column hour; begin with hour and one column for each channel, or with "
            "hour,channel,value"
        )

    def read_units(self, line: int, cells: list[str]) -> bool:
        """
        Read a row of units, which has `unit` under `hour`; return whether the row is one. An empty cell means the
        channel's own unit.

        Raises:
            ClinRaGenInputError: if a unit is not one of its channel's, or a row of units has nothing under `hour`: its
                units would not be those of the table.
        """
        if self.is_long or len(cells) != len(self.header):
            return False
        if not cells[self._hour].strip() and any(_is_unit(cells[column]) for column, _ in self._columns):
            self._refuse_empty_hour(f"line {line}")
        if plain_name(cells[self._hour]) not in UNIT_ROWS:
            return False
        for column, position in self._columns:
            self._scales[column] = self._scale(cells, column, position, f"line {line}")
        return True

    def _scale(self, cells: list[str], column: int, position: int, where: str) -> Scale:
        where = f"{where}, column {self.header[column]!r}: "
        return known_scale(self._channels[position], cells[column].strip(), where)

    def read(self, cells: list[str], where: str) -> tuple[float, dict[int, float]] | None:
        """
        Read the hour of a row, and the value of each channel measured then, by the channel's position.

        An empty cell means that nothing was measured. For a row of empty cells, return `None`.

        Raises:
            ClinRaGenInputError: if the row does not fit the header, or a cell is not a number; cells are not quoted,
                as they may contain text of a note.
        """
        if len(cells) != len(self.header):
            raise ClinRaGenInputError(
                f"{where} has {len(cells)} cells under {len(self.header)} columns; give one for each column, and "
                "decimals with a point"
            )
        cells = [cell.strip() for cell in cells]
        if not any(cells):
            return None
        hour = self._number(cells, self._hour, where)
        if hour is None:
            self._refuse_empty_hour(where)
        if abs(hour) > LONGEST:
            raise ClinRaGenInputError(f"{where}, column {self.header[self._hour]!r}: {NO_HOURS}")
        values = dict(self._long(cells, where) if self.is_long else self._wide(cells, where))
        return hour, {position: value for position, value in values.items() if value is not None}

    def _refuse_empty_hour(self, where: str) -> NoReturn:
        raise ClinRaGenInputError(
            f"{where}, column {self.header[self._hour]!r}: empty; give the hour of the row, or write unit there in a "
            "first row of units"
        )

    def _long(self, cells: list[str], where: str) -> Iterator[tuple[int, float | None]]:
        position = self._position.get(plain_name(cells[self._channel]))
        if position is None:
            raise ClinRaGenInputError(
                f"{where}, column {self.header[self._channel]!r}: unknown channel"
                f"{did_you_mean(cells[self._channel], self.channels)}; the model reads: "
                f"{', '.join(self.channels)}"
            )
        known = SAME if self._unit is None else self._scale(cells, self._unit, position, where)
        yield position, self._converted(cells, self._value, known, where)

    def _wide(self, cells: list[str], where: str) -> Iterator[tuple[int, float | None]]:
        for column, position in self._columns:
            yield position, self._converted(cells, column, self._scales.get(column, SAME), where)

    def _converted(self, cells: list[str], column: int, known: Scale, where: str) -> float | None:
        number = self._number(cells, column, where)
        return None if number is None else float(known.of(number))

    def _number(self, cells: list[str], column: int, where: str) -> float | None:
        if not cells[column]:
            return None
        try:
            number = float(cells[column])
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or "_" in cells[column]:
            remedy = "write one such as 36.6, or leave the cell empty where nothing was measured"
            if column == self._hour:
                remedy = "give hours since ICU admission, such as 1.5"
            raise ClinRaGenInputError(f"{where}, column {self.header[column]!r}: not a number; {remedy}")
        return number

    def series(self, rows: Iterable[tuple[float, dict[int, float]]]) -> tuple[np.ndarray, np.ndarray]:
        """Return `(lab_values, lab_times)` of rows from `read`; of two values at one hour, keep the last."""
        rows = list(rows)
        events = [(hour, position, value) for hour, values in rows for position, value in values.items()]
        return gather(events, [hour for hour, _ in rows], len(self.channels))


def _is_unit(cell: str) -> bool:
    """Return whether a cell is a unit and no number, such as the unit `1`."""
    return plain_unit(cell) in SPELLED and not cell.strip().isdigit()


def gather(
    events: list[tuple[float, int, float]], hours: list[float], num_channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Gather `(hour, channel, value)` into `(lab_values, lab_times)` of all `hours`; of two values, keep the last."""
    times = np.unique(np.array(hours, dtype=np.float64))
    values = np.full((len(times), num_channels), np.nan)
    for hour, channel, value in events:
        values[np.searchsorted(times, hour), channel] = value
    return values, times


def without_first(rows: Iterator[tuple], is_taken: Callable[..., bool]) -> Iterator[tuple]:
    """Return the rows without the first one if `is_taken` accepts it."""
    first = next(rows, None)
    return rows if first is None or is_taken(*first) else itertools.chain([first], rows)


def read_rows(text: str | bytes | Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """
    Yield the rows of a CSV text, or of its lines, with the number of their first line; empty lines are skipped.

    Raises:
        ClinRaGenInputError: if it is not text, or a quotation mark is not closed.
    """
    rows, line = csv.reader(_lines(text), strict=True), 1
    try:
        for cells in rows:
            if any("\0" in cell for cell in cells):
                raise ClinRaGenInputError(f"line {line}: this is not text; {SAVE_AGAIN}")
            if cells:
                yield line, cells
            line = rows.line_num + 1
    except UnicodeDecodeError:
        raise ClinRaGenInputError(f"line {line}: this is not text in UTF-8; {SAVE_AGAIN}") from None
    except csv.Error as error:
        raise ClinRaGenInputError(f"line {line}: {error}; close every quotation mark") from None


def _lines(text: str | bytes | Iterable[str]) -> Iterator[str]:
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    lines = iter(io.StringIO(text, newline="") if isinstance(text, str) else text)
    yield next(lines, "").removeprefix("\ufeff")  # the byte order mark of spreadsheets
    yield from lines
