# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Refused requests under ``/api/v3``, told in Binance's form: ``{"code": ..., "msg": ...}``.

Source of the codes: Binance's public documentation, "Error codes".
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from linkora.errors import RequestError, TransientError
from linkora.http import error_response, unavailable
from marketdata.binance_params import BinanceError, check_single

PREFIX = "/api/v3/"
_ILLEGAL = -1100
# TOO_MANY_REQUESTS; DISCONNECTED: "unable to process your request, please try again".
_CODE_OF_STATUS = {429: -1003, 503: -1001}

Endpoint = Callable[[Request], Awaitable[Response]]


def refusal(path: str, error: RequestError) -> Response:
    """Return the answer of a refused request: under ``PREFIX`` Binance's, else our own."""
    if not path.startswith(PREFIX):
        return error_response(error)
    code = _CODE_OF_STATUS.get(error.status, _ILLEGAL)
    return error_response(error, {"code": code, "msg": error.message})


def guarded(ask: Endpoint) -> Endpoint:
    """Return ``ask`` with refusals in Binance's form."""

    async def answer(request: Request) -> Response:
        try:
            check_single([name for name, _ in request.query_params.multi_items()])
            return await ask(request)
        except BinanceError as error:
            return error_response(
                RequestError(400, error.message), {"code": error.code, "msg": error.message}
            )
        except RequestError as error:
            return refusal(request.url.path, error)
        except TransientError as error:
            return refusal(request.url.path, unavailable(error))

    return answer
