# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The data collector: from the exchange into the database, then onto Redis."""
