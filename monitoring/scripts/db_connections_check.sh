#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Who is connected to the database, who idles, waits or blocks, reading only:
# ./db_connections_check.sh
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"

heading "database connections ($MODE)"
check_running
check_database
with_database check_connections
if [ "$database_answers" = 1 ]; then
  heading "by program: user, program, state, count, longest in seconds"
  sql "SELECT usename, application_name, coalesce(state, '-'), count(*), max(extract(epoch FROM now() - state_change))::bigint FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1, 2, 3 ORDER BY 4 DESC" | sed 's/^/  /'
  heading "statements of over 10 s: process, program, seconds, statement"
  sql "SELECT pid, application_name, extract(epoch FROM now() - query_start)::bigint, left(regexp_replace(query, '\s+', ' ', 'g'), 100) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND now() - query_start > interval '10 seconds' ORDER BY 3 DESC LIMIT 10" | sed 's/^/  /'
  heading "who blocks whom: waiting process, blocked by, seconds"
  sql "SELECT pid, pg_blocking_pids(pid), extract(epoch FROM now() - query_start)::bigint FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0 ORDER BY 3 DESC LIMIT 10" | sed 's/^/  /'
fi
summarise
