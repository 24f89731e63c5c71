# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Real servers for tests: PostgreSQL, TimescaleDB and Redis, as pytest fixtures and by hand."""
