# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Puts the addresses of this run into what a document tells people to type."""

import re
from collections.abc import Callable

from testkit.product import Product


def at_this_run(text: str, product: Product) -> str:
    """Return the text with the usual ports replaced by where the product's services answer."""
    services = {
        8022: product.api,
        8023: product.collector,
        8080: product.order_api,
        8081: product.order_events,
    }
    for port, service in services.items():
        assert service is not None, f"{port} does not run"
        address = rf"(http|ws)?(://)?(localhost|127\.0\.0\.1):{port}"
        text = re.sub(address, _put(service.url), text)
    return text


def _put(url: str) -> Callable[[re.Match[str]], str]:
    return lambda match: url.replace("http", "ws", 1) if match[1] == "ws" else url
