# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The production files under Compose; a package, so that its tests share one running suite."""
