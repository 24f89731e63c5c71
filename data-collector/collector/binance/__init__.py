# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Binance spot: its wire forms, its REST API and its streams."""
