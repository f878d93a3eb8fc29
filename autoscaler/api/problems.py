"""Errors of the API as RFC 9457 problem details: what is wrong, by which rule, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from autoscaler.errors import InputError, StorageError

log = structlog.get_logger(__name__)
MEDIA_TYPE = "application/problem+json"
SHOWN = 10


class ProblemError(BaseModel):
    """One thing that is wrong with a request."""

    where: str = Field(description="path of the value in the request, or file:line:column")
    text: str = Field(description="the rule that it broke and the next step")


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(default="about:blank")
    title: str = Field(description="the status in words")
    status: int
    detail: str = Field(description="what is wrong and what to do about it")
    errors: list[ProblemError] = Field(default=[], description="every fault of the request")


class Problem(HTTPException):
    """Ends a request with a status and a sentence that says what to do."""

    def __init__(
        self, status: int, detail: str, errors: Iterable[tuple[str, str]] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.errors = tuple(errors)


def found_close(name: str, known: Iterable[str]) -> str:
    """A next step for a name that is not known: the closest one, or those there are."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:200], names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"there are {', '.join(names[:SHOWN])}{more}" if names else "there are none"


def answer(status: int, detail: str, errors: Iterable[tuple[str, str]] = (), **headers: str) -> JSONResponse:
    """The response for a problem."""
    body = ProblemDetails(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        errors=[ProblemError(where=where, text=text) for where, text in errors],
    )
    return JSONResponse(body.model_dump(), status, headers, MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of routes that may end with these problems."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {s: {"description": HTTPStatus(s).phrase, "content": {MEDIA_TYPE: {"schema": schema}}} for s in statuses}


def install(app: FastAPI, describe: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    """Turn every error of the app into problem details, and describe them in its OpenAPI document.

    describe: adds to that document what the routes do not say.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            template = "#/components/schemas/{model}"
            own = ProblemDetails.model_json_schema(ref_template=template)
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schemas |= own.pop("$defs") | {"ProblemDetails": own}
            describe(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, as_details)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(InputError, _input)
    app.add_exception_handler(StorageError, _storage)
    app.add_exception_handler(Exception, _bug)


def as_details(_: Request, error: Exception) -> JSONResponse:
    """The response for an HTTP error, our own or the framework's."""
    assert isinstance(error, HTTPException)
    detail = error.detail
    if error.status_code == 404 and detail == HTTPStatus(404).phrase:
        detail = "there is nothing at this path; GET / lists what there is"
    elif error.status_code == 400:
        detail = "the body cannot be read; send JSON in UTF-8"
    elif error.status_code == 405:
        detail = "this path does not know the method; the header Allow lists those it does"
    return answer(error.status_code, detail, getattr(error, "errors", ()), **(error.headers or {}))


def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = [(".".join(map(str, e["loc"])), _rule(e)) for e in error.errors()]
    return answer(422, "the request breaks the rules listed under errors; correct it and send it again", found)


def _rule(found: Mapping[str, Any]) -> str:
    if found["type"] == "model_attributes_type" and isinstance(found["input"], str | bytes):
        return "is not JSON; send an object with the header Content-Type: application/json"
    return str(found["msg"]).removeprefix("Value error, ")


def _input(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InputError)
    found = [(f"{f.file}:{f.line}:{f.column}" if f.line else f.where or f.file, f.text) for f in error.faults]
    return answer(422, "the request breaks the rules listed under errors; correct it and send it again", found)


def _storage(_: Request, error: Exception) -> JSONResponse:
    return answer(503, f"{error}; the fleet is watched on, ask again when the storage is repaired")


def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("request failed", path=request.url.path, exc_info=error)
    return answer(500, "the service failed to answer, which is a bug in it; its log has the traceback")
