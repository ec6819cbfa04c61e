"""Errors of the API: `{"error": {"code", "message", "remedy"}}`, in English, with a status that fits."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from geneface.errors import InputError, MissingExtraError

JSON_HEADER = "send the header Content-Type: application/json"


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        code: for programs, lower case with underscores.
        message: one sentence for people: the cause.
        remedy: what they can do about it.
        retry_after: seconds after which it is worth trying again.
    """

    def __init__(
        self, status: int, code: str, message: str, remedy: str = "", retry_after: float | None = None
    ) -> None:
        self.status, self.code, self.message, self.remedy, self.retry_after = status, code, message, remedy, retry_after
        super().__init__(message)


def error_body(code: str, message: str, remedy: str = "") -> dict[str, Any]:
    """What every error looks like."""
    return {"error": {"code": code, "message": message, "remedy": remedy}}


def error_response(error: ApiError) -> JSONResponse:
    """The answer to a request that is refused."""
    headers = {} if error.retry_after is None else {"Retry-After": str(max(1, round(error.retry_after)))}
    return JSONResponse(error_body(error.code, error.message, error.remedy), error.status, headers)


def install(app: FastAPI) -> None:
    """Make every error of `app` look the same."""

    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(InputError)
    async def bad_input(_: Request, error: InputError) -> JSONResponse:
        is_missing = isinstance(error, MissingExtraError)
        where = f" {error.where}" if error.where else ""
        status, code = (501, "extra_missing") if is_missing else (422, "bad_input")
        return JSONResponse(error_body(code, f"{error.cause}{where}", error.remedy), status)

    @app.exception_handler(RequestValidationError)
    async def bad_request(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        if first["loc"] == ("body",) and error.body and kind != "application/json" and not kind.endswith("+json"):
            return JSONResponse(error_body("bad_request", "the body is not said to be JSON", JSON_HEADER), 422)
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query"))
        message = f"{place}: {first['msg']}" if place else str(first["msg"])
        return JSONResponse(error_body("bad_request", message, "see /docs for what this route takes"), 422)

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> JSONResponse:
        codes = {404: "not_found", 405: "method_not_allowed"}
        code = codes.get(error.status_code, "refused")
        return JSONResponse(
            error_body(code, str(error.detail), "see /docs for the routes of this server"),
            error.status_code,
            error.headers,
        )
