# Copyright 2026 The ClinRaGen contributors
# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI description of the server, and its page, which loads nothing from other machines."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from swagger_ui_bundle import swagger_ui_path

from modeling_clinragen.handler import MAX_RECORDS, PARAMETERS


VERSION = "3.0.2"  # swagger-ui-bundle 1.1 holds Swagger UI 4, which shows no page for the 3.1 of FastAPI
NUMBER = {"type": "number", "nullable": True}
RECORD = {
    "type": "object",
    "description": "A patient's record: a note, or series, or both. The series stand either in labs, or in lab_times "
    "and lab_values.",
    "properties": {
        "note": {"type": "string", "nullable": True},
        "labs": {
            "type": "object",
            "description": "Channel -> pairs of hours since ICU admission and value.",
            "additionalProperties": {"type": "array", "items": {"type": "array", "items": NUMBER}},
        },
        "lab_times": {"type": "array", "items": {"type": "number"}, "description": "Hours since ICU admission."},
        "lab_values": {
            "type": "array",
            "items": {"type": "array", "items": NUMBER},
            "description": "For each time one value a channel, null where there is none.",
        },
    },
    "example": {"note": "Productive cough and shaking chills.", "labs": {"Temperature": [[1, 39.2], [3, 39.5]]}},
}
ANSWER = {
    "type": "object",
    "description": "What the pipeline returns: see docs/serve_and_update.md.",
    "properties": {
        "diagnoses": {
            "type": "array",
            "items": {"type": "object", "properties": {"label": {"type": "string"}, "probability": NUMBER}},
        },
        "note_rationale": {"type": "string"},
        "lab_rationale": {"type": "string"},
        "probabilities": {"type": "object", "additionalProperties": {"type": "number"}},
        "unseen_diagnoses": {
            "type": "array",
            "description": "With the parameter unseen: diseases that are not labels, by their score, no probability.",
            "items": {
                "type": "object",
                "properties": {
                    "label": {"type": "string"},
                    "score": {"type": "number"},
                    "terms": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
        "model_version": {"type": "string", "description": "Hash of weights and settings."},
    },
}
ERROR = {"type": "object", "properties": {"error": {"type": "string"}}}
REFUSALS = {
    400: "No request at all",
    401: "The server has a token, and it was not sent",
    408: "The request did not arrive in time",
    413: "Too large",
    415: "Not application/json",
    422: "A field is wrong",
    500: "The model failed on this request",
    503: "Too many records are waiting: ask again in some seconds",
}


def predict_description() -> dict[str, Any]:
    """Return the OpenAPI description of `POST /`, without its path."""
    one_or_many = {"oneOf": [RECORD, {"type": "array", "items": RECORD, "minItems": 1, "maxItems": MAX_RECORDS}]}
    request = {
        "type": "object",
        "required": ["inputs"],
        "properties": {
            "inputs": one_or_many,
            "parameters": {"type": "object", "properties": {name: _option(*PARAMETERS[name]) for name in PARAMETERS}},
        },
    }
    answers = {"oneOf": [ANSWER, {"type": "array", "items": ANSWER}]}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": request}}},
        "responses": {
            "200": {"description": "One answer, or a list of them", "content": _json(answers)},
            **{str(status): {"description": reason, "content": _json(ERROR)} for status, reason in REFUSALS.items()},
        },
    }


def add_page(app: FastAPI) -> None:
    """Serve the page of the description at `/docs`."""
    app.openapi_version = VERSION
    app.mount("/docs/static", StaticFiles(directory=swagger_ui_path))

    @app.get("/docs", include_in_schema=False)
    async def page() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=app.openapi_url,
            title=app.title,
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon-32x32.png",
        )


def _json(schema: dict) -> dict:
    return {"application/json": {"schema": schema}}


def _option(kind: type, low: float | None, high: float | None) -> dict:
    if kind is bool:
        return {"type": "boolean"}
    return {"type": "number" if kind is float else "integer", "minimum": low, "maximum": high}
