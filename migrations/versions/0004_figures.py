# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""The door through which every service writes its figures, also those that may write nothing else.

The function runs with the rights of the migration's user: whoever may call it can add figures,
and can neither change nor delete any.
"""

from alembic import op

from schema.timescale import is_installed

revision = "0004"
down_revision = "0003"

RETENTION = """
CREATE FUNCTION metrics_retention() RETURNS interval LANGUAGE sql IMMUTABLE AS
$$ SELECT NULL::interval $$;
COMMENT ON FUNCTION metrics_retention IS
    'age at which figures are deleted, null for never; the migration job sets it at every run'
"""

RECORD = """
CREATE FUNCTION record_figures(of_service text, of_instance text, figures json)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    this_minute timestamptz := date_trunc('minute', now());
BEGIN
    IF length(of_service) > 100 OR length(of_instance) > 200 THEN
        RAISE EXCEPTION 'the name of a service or instance is too long' USING ERRCODE = '22001';
    END IF;
    INSERT INTO service_metrics ("time", service, instance, metric, value)
    SELECT this_minute, of_service, of_instance, left(key, 200), value::double precision
    FROM json_each_text(figures) WHERE value IS NOT NULL
    LIMIT 1000
    ON CONFLICT (service, metric, instance, "time") DO UPDATE SET value = excluded.value;
{forget}
END $$;
REVOKE ALL ON FUNCTION record_figures FROM PUBLIC;
COMMENT ON FUNCTION record_figures IS
    'store the main figures of one instance of a service for the current minute'
"""

# TimescaleDB drops whole chunks by a job of its own.
FORGET = """
    IF metrics_retention() IS NOT NULL THEN
        DELETE FROM service_metrics WHERE ctid = ANY (ARRAY(
            SELECT ctid FROM service_metrics
            WHERE "time" < now() - metrics_retention() ORDER BY "time" LIMIT 1000));
    END IF;
"""


def upgrade() -> None:
    """Create the functions and the index by time."""
    connection = op.get_bind()
    connection.exec_driver_sql(
        'CREATE INDEX service_metrics_by_time ON service_metrics ("time" DESC)'
    )
    connection.exec_driver_sql(RETENTION)
    connection.exec_driver_sql(RECORD.format(forget="" if is_installed(connection) else FORGET))
