# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""Convert irregular lab and vital-sign measurements to the standardised hourly grid that the model reads."""

from collections.abc import Iterable, Sequence

import numpy as np
from transformers import BatchFeature, FeatureExtractionMixin

from .clinical_clinragen import CHANNELS, ClinRaGenInputError, with_statistics
from .conversions_clinragen import known_scale
from .fields_clinragen import did_you_mean, plain_name
from .series_csv_clinragen import LONGEST, NO_HOURS, SeriesTable, gather, read_rows, without_first
from .shapes_clinragen import CHANNEL, fault_of


# Standard scores are clipped here: a plausible value beyond is just "extreme", and larger inputs only hurt training.
MAX_STANDARD_SCORE = 10.0


def distinct_range(channel: dict) -> tuple[float, float]:
    """Return the limits, in the channel's unit, beyond which the model reads all values on a side alike."""
    width = MAX_STANDARD_SCORE * channel["std"]
    return channel["mean"] - width, channel["mean"] + width


class ClinRaGenFeatureExtractor(FeatureExtractionMixin):
    r"""
    Put measurements on an hourly grid, standardise them, and mask the cells that were not measured.

    A cell holds the mean of the plausible values measured in that hour. Nothing is imputed: a cell without a
    measurement is 0 and its mask is `False`.

    Args:
        channels (`list[dict]`, *optional*):
            As in [`ClinRaGenConfig`]: `name`, `unit`, `minimum` and `maximum` (plausibility limits, in that unit),
            `mean` and `std` of the training split.
        context_length (`int`, *optional*, defaults to 1000):
            Hours from ICU admission that the grid covers; later measurements are left out.
        grid (`str`, *optional*, defaults to `"hourly"`):
            `"paper"`: one row per measurement time, missing cells filled with the channel's `fill` value, the last
            row repeated to the end, everything marked as observed - the original release's treatment.

    Source: arXiv 2411.07611. Differs from it: hourly grid, mask and plausibility limits instead of imputation.
    """

    model_input_names = ["past_values", "past_observed_mask"]

    def __init__(self, channels=None, context_length: int = 1000, grid: str = "hourly", **kwargs):
        super().__init__(**kwargs)
        if grid not in ("hourly", "paper"):
            raise ValueError(f"`grid` is {grid!r}; choose hourly or paper")
        fault = fault_of(channels, (None, [CHANNEL]), "channels") or fault_of(context_length, int, "context_length")
        if fault or context_length < 1:
            raise ValueError(fault or f"`context_length` is at least 1 hour, not {context_length}")
        self.channels = [with_statistics(channel) for channel in channels or CHANNELS]
        self.context_length = context_length
        self.grid = grid

    def __call__(
        self,
        lab_values: Sequence[np.ndarray | None],
        lab_times: Sequence[np.ndarray | None],
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """
        Args:
            lab_values (list of arrays of shape `(T, num_input_channels)`, or `None`):
                Measured values in the channels' units and order; NaN = not measured. `T` may differ, and be 0.
            lab_times (list of arrays of shape `(T,)`, or `None`):
                Hours since ICU admission, strictly increasing. Times before 0 or beyond `context_length` are left out.
            return_tensors (`str`, *optional*): `"pt"` or `"np"`.

        Returns:
            `BatchFeature` with `past_values`, float32, and `past_observed_mask`, bool, both of shape
            `(batch_size, context_length, num_input_channels)`.

        Raises:
            ClinRaGenInputError: if shapes do not fit the channels, or times do not increase.
        """
        if len(lab_values) != len(lab_times):
            raise ClinRaGenInputError(f"{len(lab_values)} records have lab_values but {len(lab_times)} have lab_times")
        rows = [
            self._to_grid(*self.validate(values, times, f"record {i}"), self.channels)
            for i, (values, times) in enumerate(zip(lab_values, lab_times, strict=True))
        ]
        data = {
            "past_values": np.stack([values for values, _ in rows]),
            "past_observed_mask": np.stack([mask for _, mask in rows]),
        }
        return BatchFeature(data, tensor_type=return_tensors)

    def validate(self, values, times, where: str = "the record") -> tuple[np.ndarray, np.ndarray]:
        """Check the measurements of one record; return `(T, num_input_channels)` and `(T,)` float64 arrays."""
        num_channels = len(self.channels)
        try:
            values = np.asarray([] if values is None else values, dtype=np.float64)
            times = np.asarray([] if times is None else times, dtype=np.float64)
        except (TypeError, ValueError, OverflowError):
            raise ClinRaGenInputError(
                f"{where}: lab_values needs one number (or NaN) for each of the {num_channels} channels at every "
                "time, and lab_times one number of hours for each row"
            ) from None
        if values.size == 0 and times.size == 0:
            return np.empty((0, num_channels)), np.empty(0)
        if values.ndim != 2 or values.shape[1] != num_channels:
            raise ClinRaGenInputError(
                f"{where}: lab_values has shape {values.shape}; the model reads {num_channels} channels per time: "
                f"{', '.join(channel['name'] for channel in self.channels)}"
            )
        if times.shape != values.shape[:1]:
            raise ClinRaGenInputError(f"{where}: {len(values)} rows of lab_values but {times.size} lab_times")
        if not np.isfinite(times).all():
            raise ClinRaGenInputError(f"{where}: lab_times holds a value that is not a number of hours")
        if (np.abs(times) > LONGEST).any():
            raise ClinRaGenInputError(f"{where}: lab_times holds {np.abs(times).max():g}, {NO_HOURS}")
        if (np.diff(times) <= 0).any():
            row = int(np.argmax(np.diff(times) <= 0)) + 1
            raise ClinRaGenInputError(
                f"{where}: lab_times must increase strictly, but row {row} ({times[row]:g} h) follows "
                f"{times[row - 1]:g} h; sort the rows and merge equal times"
            )
        return values, times

    def series_from_events(self, labs: dict[str, Sequence[Sequence[float]]]) -> tuple[np.ndarray, np.ndarray]:
        """
        Gather `{"Heart Rate": [[hour, value], ...], ...}` into `(lab_values, lab_times)` for `__call__`.

        Channel names are compared without regard to case, spaces and punctuation. Of two values of one channel at
        the same time, the last is kept.

        Raises:
            ClinRaGenInputError: for a channel that the model does not have, or an entry that is not [hour, value].
        """
        if not isinstance(labs, dict):
            raise ClinRaGenInputError("the series must be a dict of channel names, each with a list of [hour, value]")
        events = []
        for name, pairs in labs.items():
            name = str(name)
            position = self._position_of(name)
            try:
                read = [(float(hour), position, float(value)) for hour, value in pairs]
            except (TypeError, ValueError, OverflowError):
                raise ClinRaGenInputError(
                    f"channel {name!r}: every entry must be [hour, value], two numbers"
                ) from None
            if any(isinstance(number, bool) for pair in pairs for number in pair):
                raise ClinRaGenInputError(f"channel {name!r}: holds true or false; give [hour, value], two numbers")
            events += read
        return gather(events, [hour for hour, *_ in events], len(self.channels))

    def _position_of(self, name: str) -> int:
        known = [channel["name"] for channel in self.channels]
        found = [position for position, one in enumerate(known) if plain_name(one) == plain_name(name)]
        if not found:
            raise ClinRaGenInputError(
                f"unknown channel {name[:60]!r}{did_you_mean(name, known)}; the model reads: {', '.join(known)}"
            )
        return found[-1]

    def in_own_units(self, values: np.ndarray, units: dict[str, str] | None) -> np.ndarray:
        """
        Convert checked `lab_values` into the channels' units.

        Args:
            values (`np.ndarray` of shape `(T, num_input_channels)`): as `validate` returns them.
            units (`dict[str, str]`, *optional*): name of a channel -> the unit of its values; other channels are in
                their own units. Names are compared as in `series_from_events`.

        Raises:
            ClinRaGenInputError: for an unknown channel, a channel that is named twice, or an unknown unit.
        """
        if units is None:
            return values
        if not isinstance(units, dict):
            raise ClinRaGenInputError('the units must be a dict of channel names, as in {"Glucose": "mmol/L"}')
        scales = {}
        for name, unit in units.items():
            position = self._position_of(str(name))
            if position in scales:
                raise ClinRaGenInputError(
                    f"two units are given for {self.channels[position]['name']}; leave one of them"
                )
            scales[position] = known_scale(self.channels[position], unit)
        values = values.copy()
        for position, known in scales.items():
            values[:, position] = known.of(values[:, position])
        return values

    def series_from_csv(self, text: str | bytes | Iterable[str]) -> tuple[np.ndarray, np.ndarray]:
        """
        Read a CSV table, given as its text or lines, into `(lab_values, lab_times)` for `__call__`.

        The header gives the layout: wide, `hour` and one column for each channel, with empty cells for missing values;
        or long, `hour,channel,value`. Below a wide header, a row with `unit` as its hour may give the units; a long
        table may have a column `unit`. An empty unit is the channel's own. Names are compared as in
        `series_from_events`. Rows may be in any order; rows of one hour are merged, and of two values of one channel
        then, the last is kept. `left_out` lists the values that the model will not read.

        Raises:
            ClinRaGenInputError: one sentence with line, column and remedy, if the table cannot be read.
        """
        rows = read_rows(text)
        line, header = next(rows, (0, []))
        if not header:
            raise ClinRaGenInputError(
                "the table of the series is empty; begin with hour and one column for each channel"
            )
        table = SeriesTable(self.channels, header, where=f"line {line}")
        rows = without_first(rows, table.read_units)
        read = [row for line, cells in rows if (row := table.read(cells, f"line {line}")) is not None]
        if not read:
            raise ClinRaGenInputError(f"line {line}: no row follows the header; give one row for each hour")
        return table.series(read)

    def left_out(self, values: np.ndarray, times: np.ndarray) -> list[str]:
        """Write a sentence for each measurement of a checked record that the model does not read."""
        sentences = []
        for row, column in np.argwhere(~np.isnan(values) & ~self.reaches_model(values, times)):
            channel, hour, value = self.channels[column], times[row], values[row, column]
            unit = "" if channel["unit"] == channel["name"] else f" {channel['unit']}"
            measured = f"{channel['name']} {value:g}{unit} at {hour:g} h is left out"
            if 0 <= hour < self.context_length:
                low, high = channel.get("minimum", -np.inf), channel.get("maximum", np.inf)
                sentences.append(f"{measured}: plausible is {low:g} to {high:g}{unit}.")
            else:
                sentences.append(f"{measured}: the model reads hours 0 to {self.context_length}.")
        return sentences

    def has_measurement(self, values: np.ndarray, times: np.ndarray) -> bool:
        """Return whether the model reads any measurement of a checked record."""
        return bool(self.reaches_model(values, times).any())

    def reaches_model(self, values: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Mark the measurements of a checked record that the model reads: bool, `(T, num_input_channels)`."""
        return self.plausible(values) & ((times >= 0) & (times < self.context_length))[:, None]

    def plausible(self, values: np.ndarray) -> np.ndarray:
        """Mark the values within the plausibility limits: bool, of the same shape."""
        return self._plausible(values, self.channels)

    @staticmethod
    def _plausible(values: np.ndarray, channels: list[dict]) -> np.ndarray:
        minimum = np.array([channel.get("minimum", -np.inf) for channel in channels])
        maximum = np.array([channel.get("maximum", np.inf) for channel in channels])
        with np.errstate(invalid="ignore"):
            return (values >= minimum) & (values <= maximum)  # comparisons with NaN are false

    def channel_grid(self, values: np.ndarray, times: np.ndarray, channel: int) -> tuple[np.ndarray, np.ndarray]:
        """Return grid and mask of one channel's checked measurements, `(T,)`: `(context_length,)`, as a call gives."""
        grid, mask = self._to_grid(values[:, None], times, self.channels[channel : channel + 1])
        return grid[:, 0], mask[:, 0]

    def _to_grid(self, values: np.ndarray, times: np.ndarray, channels: list[dict]) -> tuple[np.ndarray, np.ndarray]:
        values = np.where(self._plausible(values, channels), values, np.nan)
        grid = self._paper_grid(values, channels) if self.grid == "paper" else self._hourly_grid(values, times)
        observed = ~np.isnan(grid)
        mean = np.array([channel["mean"] for channel in channels])
        std = np.array([channel["std"] for channel in channels])
        scores = np.clip((grid - mean) / std, -MAX_STANDARD_SCORE, MAX_STANDARD_SCORE)
        return np.where(observed, scores, 0.0).astype(np.float32), observed

    def _hourly_grid(self, values: np.ndarray, times: np.ndarray) -> np.ndarray:
        shape = (self.context_length, values.shape[1])
        row, column = np.nonzero(~np.isnan(values) & ((times >= 0) & (times < self.context_length))[:, None])
        cell = np.floor(times[row]).astype(np.int64) * shape[1] + column
        count = np.bincount(cell, minlength=shape[0] * shape[1])
        total = np.bincount(cell, weights=values[row, column], minlength=shape[0] * shape[1])
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        return mean.reshape(shape)

    def _paper_grid(self, values: np.ndarray, channels: list[dict]) -> np.ndarray:
        fill = np.array([channel["fill"] for channel in channels])
        values = np.where(np.isnan(values), fill, values)[: self.context_length]
        if not len(values):
            values = fill[None]
        return np.concatenate([values, np.repeat(values[-1:], self.context_length - len(values), axis=0)])


ClinRaGenFeatureExtractor.register_for_auto_class()


__all__ = ["ClinRaGenFeatureExtractor"]
