"""What OpenAPI says of the routes: what they take, what they answer, and with which errors."""

from __future__ import annotations

from typing import Any

DESCRIPTION = """Trained networks over HTTP.

    curl --data-binary @photo.png http://127.0.0.1:8000/v1/predict

Errors are `{"error": "one line"}`."""

_TEXT, _NUMBER, _WHOLE = {"type": "string"}, {"type": "number"}, {"type": "integer"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required.split(), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_ERROR = _object("error", error=_TEXT)
_CLASS = _object("class probability", **{"class": _TEXT, "probability": _NUMBER})
_LABEL = _object("label probability", label=_TEXT, probability=_NUMBER)
_BOX = _object(
    "class probability box",
    **{"class": _TEXT, "probability": _NUMBER, "box": {**_list(_NUMBER), "minItems": 4, "maxItems": 4}},
)
_RESULT = {
    "type": "object",
    "description": (
        "A classifier gives predictions, the most probable first; of several labels also labels, those from their "
        "threshold on; a detector gives objects, with corners x1, y1, x2, y2 in pixels. An image that cannot be used "
        "has error and status in their place."
    ),
    "properties": {
        "name": {**_TEXT, "description": "of the file, where the request named it"},
        "predictions": _list(_CLASS),
        "labels": _list(_LABEL),
        "objects": _list(_BOX),
        "height": _WHOLE,
        "width": _WHOLE,
        "error": _TEXT,
        "status": _WHOLE,
    },
}
_MODEL = _object(
    "name task architecture classes image engine precision version",
    name=_TEXT,
    task={"enum": ["classify", "multilabel", "detect"]},
    architecture=_TEXT,
    classes=_list(_TEXT),
    image=_object("height width channels resize", height=_WHOLE, width=_WHOLE, channels=_WHOLE, resize=_TEXT),
    engine=_TEXT,
    precision=_TEXT,
    version=_TEXT,
    thresholds={"type": "object", "additionalProperties": _NUMBER},
    threshold=_NUMBER,
)

_REFUSED = {
    400: _json("The request is broken", _ERROR),
    401: _json("A token is needed", _ERROR),
    403: _json("Host or Origin are not this server's", _ERROR),
    503: _json("Not ready, or too many wait; Retry-After says when to try again", _ERROR),
}
_UNKNOWN = {404: _json("There is no such network", _ERROR)}

HEALTH: dict[int | str, dict[str, Any]] = {200: _json("It is", _object("status", status=_TEXT)), 403: _REFUSED[403]}
READY: dict[int | str, dict[str, Any]] = {
    200: _json("It does", _object("status", status=_TEXT)),
    403: _REFUSED[403],
    503: _json("It is loading, or ending", _ERROR),
}
METRICS: dict[int | str, dict[str, Any]] = {
    200: {"description": "Counters", "content": {"text/plain": {"schema": _TEXT}}},
    **_REFUSED,
}
MODELS: dict[int | str, dict[str, Any]] = {
    200: _json("The networks, the first being asked where none is named", _object("models", models=_list(_MODEL))),
    **_REFUSED,
}
MODEL: dict[int | str, dict[str, Any]] = {200: _json("The network", _MODEL), **_REFUSED, **_UNKNOWN}
PREDICT: dict[int | str, dict[str, Any]] = {
    200: _json(
        "A result for each image, in order; at least one could be used",
        _object("model version results", model=_TEXT, version=_TEXT, results=_list(_RESULT)),
    ),
    **_REFUSED,
    **_UNKNOWN,
    408: _json("The request did not arrive in time", _ERROR),
    413: _json("Too many bytes, pixels or images", _ERROR),
    415: _json("Another kind of content", _ERROR),
    422: _json("No image could be read", _ERROR),
    500: _json("The network could not compute any image", _ERROR),
    504: _json("There was no answer in time", _ERROR),
}

WHICH: dict[str, Any] = {
    "name": "model",
    "in": "query",
    "required": False,
    "description": "the name of a network; the first if left out",
    "schema": _TEXT,
}
PREDICT_PARAMETERS: list[dict[str, Any]] = [
    WHICH,
    {
        "name": "top",
        "in": "query",
        "required": False,
        "description": "how many classes, the most probable first: 5 if left out; of a detector the most objects",
        "schema": {**_WHOLE, "minimum": 1, "maximum": 10**6},
    },
    {
        "name": "threshold",
        "in": "query",
        "required": False,
        "description": "the score from which on a detector's objects are given; its own if left out",
        "schema": {**_NUMBER, "minimum": 0, "maximum": 1},
    },
]
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_BASE64 = {"type": "string", "contentEncoding": "base64"}
PREDICT_BODY: dict[str, Any] = {
    "required": True,
    "description": "one image, or several",
    "content": {
        "image/*": _BINARY,
        "application/octet-stream": _BINARY,
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["images"],
                "properties": {"images": _list({"type": "string", "format": "binary"})},
            }
        },
        "application/json": {
            "schema": _object("images", images=_list({"anyOf": [_BASE64, _object("data", name=_TEXT, data=_BASE64)]}))
        },
    },
}
