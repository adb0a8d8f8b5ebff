# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""
Custom handler for Hugging Face Inference Endpoints: JSON in, diagnoses with their rationale out.

The endpoint finds it at the root of a model folder; it needs only that folder, torch and transformers.
"""

import logging
import math
import threading
import traceback
from collections.abc import Callable
from typing import Any

from transformers import pipeline


logger = logging.getLogger(__name__)

TASK = "clinical-rationale-generation"

MAX_RECORDS = 32
MAX_NOTE_CHARACTERS = 100_000  # the model reads some hundred tokens of a note; a longer text must be a mistake
MAX_MEASUREMENTS = 100_000

# Options of the pipeline that a request may set, with type and range: none can exhaust the memory.
PARAMETERS = {
    "evidence": (bool, None, None),
    "grounded": (bool, None, None),
    "attention": (bool, None, None),
    "unseen": (bool, None, None),
    "recall": (float, 0.5, 0.999),
    "precision": (float, 0.5, 0.999),
    "confidence": (float, 0.5, 0.999),
    "num_beams": (int, 1, 8),
    "max_new_tokens": (int, 1, 512),
}


class RequestError(ValueError):
    """
    A request that cannot be answered; its message names the field and the remedy, and never holds a note.

    Args:
        status (`int`): HTTP status: 400 not a request, 413 too large, 422 a field is wrong.
        reason (`str`): one line.
    """

    def __init__(self, status: int, reason: str):
        super().__init__(reason)
        self.status = status


class EndpointHandler:
    """
    Answer `{"inputs": record or [record, ...], "parameters": {...}}` with the answer of [`ClinRaGenPipeline`] for the
    record, or a list of answers, as plain JSON: numbers that are not finite become `None`.

    It may be called from several threads; requests are answered one after the other.

    Args:
        path (`str`): model folder; its code is run.
        pipe (`ClinRaGenPipeline`, *optional*): used instead of the pipeline of a folder.
    """

    def __init__(self, path: str = "", pipe=None):
        self.pipe = pipeline(TASK, model=path, trust_remote_code=True) if pipe is None else pipe
        self._lock = threading.Lock()

    def __call__(self, data: dict[str, Any]) -> dict | list[dict]:
        """
        Answer a request.

        Raises:
            RequestError: if the request is malformed or too large, or one of its records cannot be read.
        """
        records, parameters = self.read_request(data)
        answers = self.answer(records, parameters)
        return answers if isinstance(data["inputs"], list) else answers[0]

    def read_request(self, data: Any) -> tuple[list[dict], dict]:
        """Return the checked records and parameters of a request."""
        if not isinstance(data, dict) or "inputs" not in data:
            raise RequestError(400, 'a request is {"inputs": record or [records], "parameters": {...}}')
        for name in data:
            if name not in ("inputs", "parameters"):
                raise RequestError(422, f"{_short(str(name))}: unknown field; a request has inputs and parameters")
        inputs = data["inputs"]
        parameters = read_parameters(data.get("parameters"))
        for name in ("recall", "precision"):
            if name in parameters and self.pipe.model.config.decisions.doubt is None:
                raise RequestError(422, f"parameters.{name}: this model was not calibrated for it; leave it out")
        if parameters.get("unseen") and not self.pipe.processor.reads_terms:
            raise RequestError(422, "parameters.unseen: this model reads no terms of the knowledge; leave it out")
        if not isinstance(inputs, list):
            return [self._read_small(inputs, "inputs")], parameters
        if not inputs:
            raise RequestError(422, "inputs: empty; give at least one record")
        if len(inputs) > MAX_RECORDS:
            raise RequestError(413, f"inputs: {len(inputs)} records; send at most {MAX_RECORDS} at once")
        return [self._read_small(record, f"inputs[{i}]") for i, record in enumerate(inputs)], parameters

    def _read_small(self, record: Any, where: str) -> dict:
        if isinstance(record, dict):
            note = record.get("note")
            if isinstance(note, str) and len(note) > MAX_NOTE_CHARACTERS:
                raise RequestError(413, f"{where}.note: longer than {MAX_NOTE_CHARACTERS} characters; shorten it")
            for name in ("labs", "lab_values", "lab_times"):
                if _count(record.get(name)) > MAX_MEASUREMENTS:
                    raise RequestError(413, f"{where}.{name}: more than {MAX_MEASUREMENTS} values; send fewer")
        return self.read_record(record, where)

    def read_record(self, record: Any, where: str) -> dict:
        """
        Return `note`, `lab_values` and `lab_times` of a record, checked, values in the channels' units.

        Args:
            where (`str`): place of the record in error messages.

        Raises:
            RequestError: if the record is malformed, or has no input that the model reads.
        """
        if not isinstance(record, dict):
            raise RequestError(422, f"{where}: must be an object with note, and labs or lab_times and lab_values")
        processor = self.pipe.processor
        try:
            processor.check_fields(record)
        except ValueError as error:
            raise RequestError(422, f"{where}: {error}") from None
        note, labs, values, times = (record.get(name) for name in ("note", "labs", "lab_values", "lab_times"))
        note = "" if note is None else note
        if not isinstance(note, str):
            raise RequestError(422, f"{where}.note: must be text, not {type(note).__name__}")
        if not _is_unicode(note):
            raise RequestError(422, f"{where}.note: holds half of a character; send it in UTF-8")
        if labs is not None and (values is not None or times is not None):
            raise RequestError(422, f"{where}.labs: give the series either so or as lab_values and lab_times")
        extractor = processor.feature_extractor
        field = f"{where}.lab_values" if labs is None else f"{where}.labs"
        if labs is not None:
            values, times = _checked(field, extractor.series_from_events, labs)
        values, times = _checked(field, extractor.validate, values, times, "the series")
        values = _checked(f"{where}.units", extractor.in_own_units, values, record.get("units"))
        if not processor.can_read(note, values, times):
            unread = extractor.left_out(values, times)[:1] if "lab" in processor.modalities else []
            fault = f"{where}: neither a note nor a measurement that the model reads; give one"
            raise RequestError(422, f"{fault}. {unread[0]}" if unread else fault)
        return {"note": note, "lab_values": values, "lab_times": times}

    def answer(self, records: list[dict], parameters: dict) -> list[dict]:
        """Answer checked records, encoded together."""
        with self._lock:
            answers = self.pipe(records, batch_size=len(records), **parameters)
        return [as_json(answer) for answer in answers]

    def try_answer(self, records: list[dict], parameters: dict) -> list[dict | Exception]:
        """Answer as `answer`; if that fails, answer each record alone, with an error in place of a failed answer."""
        try:
            return self.answer(records, parameters)
        except Exception as error:
            if len(records) > 1:
                return [self.try_answer([record], parameters)[0] for record in records]
            # the message of an error may contain text of the record; the traceback does not
            logger.error("%s in\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            return [error]


def read_parameters(parameters: Any) -> dict:
    """
    Check the options of the pipeline that a request sets.

    Raises:
        RequestError: for an unknown option, or one of another type or out of its range.
    """
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise RequestError(422, f"parameters: must be an object with any of {', '.join(PARAMETERS)}")
    for name, value in parameters.items():
        if name not in PARAMETERS:
            raise RequestError(422, f"parameters.{_short(str(name))}: unknown; there are {', '.join(PARAMETERS)}")
        kind, low, high = PARAMETERS[name]
        if kind is bool and not isinstance(value, bool):
            raise RequestError(422, f"parameters.{name}: must be true or false")
        if kind is not bool:
            accepted = (int, float) if kind is float else int
            if isinstance(value, bool) or not isinstance(value, accepted) or not low <= value <= high:
                number = "a number" if kind is float else "a whole number"
                raise RequestError(422, f"parameters.{name}: must be {number} from {low} to {high}")
    return dict(parameters)


def as_json(value: Any) -> Any:
    """Convert to strict JSON: a number that is not finite becomes `None`."""
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _checked(where: str, read: Callable, *given: Any) -> Any:
    """Return the result of a reader for a field; raise a `RequestError` that begins with `where` if it fails."""
    try:
        return read(*given)
    except ValueError as error:
        raise RequestError(422, f"{where}: {_short(str(error), 500)}") from None


def _count(series: Any) -> int:
    """Count the values of a series in any form: those of the lists in a list or dict."""
    parts = series.values() if isinstance(series, dict) else series
    return sum(len(part) if isinstance(part, list) else 1 for part in parts) if isinstance(series, dict | list) else 1


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _short(text: str, length: int = 60) -> str:
    return text if len(text) <= length else text[:length] + "..."
