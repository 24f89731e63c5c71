# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What a client of the order API can follow. Pure."""

import msgspec


class OrderTopic(msgspec.Struct, frozen=True):
    """Orders of a user with a status; None for all."""

    user: str | None
    status: str | None


def topics_of(user: str, statuses: set[str]) -> list[OrderTopic]:
    """Return the topics of a user's orders that have one of these statuses."""
    return [OrderTopic(u, s) for u in (None, user) for s in (None, *sorted(statuses))]
