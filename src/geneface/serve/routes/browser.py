"""POST /v1/session: what a browser keeps after it has shown the token, to load pictures and videos with."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from geneface.serve.context import Context, context_of
from geneface.serve.safety.tokens import COOKIE, TokenCheck

router = APIRouter(prefix="/v1", tags=["server"])


@router.post("/session", status_code=204, summary="Let this browser read without the token")
async def begin(request: Request, context: Annotated[Context, Depends(context_of)]) -> Response:
    """Sets a cookie that `<img>`, `<video>` and downloads carry. It allows GET and HEAD alone, from this server's page
    alone (`SameSite=Strict`), and ends with the browser. Without a token there is nothing to set.
    """
    response = Response(status_code=204)
    check = TokenCheck(context.settings.token)
    if check.is_on:
        is_secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, check.cookie, httponly=True, samesite="strict", secure=is_secure, path="/")
    return response
