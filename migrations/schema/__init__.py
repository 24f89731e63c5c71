# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Applies the migrations; the only place with DDL is ``migrations/``."""
