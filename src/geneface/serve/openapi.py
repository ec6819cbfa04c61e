"""What the API says of itself: /openapi.json, with our errors on every route and the token as its security."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from geneface.serve.errors import error_body
from geneface.serve.safety.guard import is_public

TAGS = {
    "live": "A face that speaks now.",
    "videos": "Videos, made as jobs.",
    "speech": "Voices, and text to speech.",
    "avatars": "The people that are offered, and how more of them are made.",
    "uploads": "Large files, in pieces that can be resumed.",
    "server": "The server itself.",
}
"""Subject -> what it is about. Routers name one of them."""
_ABOUT = (
    "An avatar speaks, live or as a video. Every error has the form "
    '`{"error": {"code", "message", "remedy"}}`. A server that others can reach needs its token: '
    "`Authorization: Bearer TOKEN`."
)
_ERROR_SCHEMA = {
    "title": "Error",
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "remedy"],
            "properties": {
                "code": {"type": "string", "description": "For programs: lower case with underscores."},
                "message": {"type": "string", "description": "For people: the cause, one sentence."},
                "remedy": {"type": "string", "description": "What can be done about it."},
            },
        }
    },
}
_DOOR = {
    "401": ("The token is missing or wrong.", error_body("token_needed", "this server needs its token", "send it")),
    "403": ("Asked for by another name, or by a page of another site.", None),
    "429": ("Too many requests of one address; see Retry-After.", None),
}


def install(app: FastAPI) -> None:
    """Make `app` describe itself so."""
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = made()
            schema["info"]["description"] = _ABOUT
            schema["tags"] = [{"name": name, "description": about} for name, about in TAGS.items()]
            _add_errors(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def _add_errors(schema: dict[str, Any]) -> None:
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    # FastAPI's own form of an error is never sent.
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schemas["Error"] = _ERROR_SCHEMA
    components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            is_open = is_public(path, method.upper())
            operation["summary"] = _summary(operation)
            operation["security"] = [] if is_open else [{"token": []}, {}]
            responses = operation["responses"]
            if "422" in responses:
                responses["422"] = _response("What was sent is not what this route takes.")
            for status, (about, example) in _DOOR.items():
                if not (is_open and status == "401"):
                    responses.setdefault(status, _response(about, example))
            responses.setdefault("default", _response("Anything else that went wrong."))


def _summary(operation: dict[str, Any]) -> str:
    """What a route does, in one line: its own summary, or instead of a function's name the first sentence about it."""
    named = operation["summary"].lower().replace(" ", "_")
    about = operation.get("description", "")
    if not operation["operationId"].startswith(named) or not about:
        return operation["summary"]
    first = about.split("\n\n")[0].replace("\n", " ")
    return first.split(". ")[0].split(": ")[0].rstrip(".")


def _response(about: str, example: dict[str, Any] | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Error"}}
    if example is not None:
        content["example"] = example
    return {"description": about, "content": {"application/json": content}}
