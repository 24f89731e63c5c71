# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Fixtures that every test of the repository may ask for: see ``tests/testkit/servers.py``."""

pytest_plugins = ["testkit.servers", "testkit.side_by_side"]
