# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""When the event processor was last at the head: what it retries for hours has to show as trouble.

Its sign of life goes on while the chain's node is away, and the lag behind the last known head
stays what it was.
"""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    "ALTER TABLE system_state ADD COLUMN active_at timestamptz",
    """
    COMMENT ON COLUMN system_state.active_at IS
        'when the scanner last said ACTIVE; null if never, or before version 0007'
    """,
)


def upgrade() -> None:
    """Add the column."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
