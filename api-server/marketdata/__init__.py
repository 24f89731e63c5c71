# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The API server: stored candles and order books over REST, live ones over WebSockets."""
