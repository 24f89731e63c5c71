# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What runs under Docker Compose; a package, so that its tests share one running suite."""
