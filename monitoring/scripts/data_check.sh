#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Is the stored data fresh, whole and consistent? Reading only: ./data_check.sh
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"

heading "data ($MODE)"
check_running
check_database
with_database check_schema
with_database check_candles
with_database check_books
with_database check_gaps
with_database check_completeness
with_database check_scanner
if [ "$database_answers" = 1 ] && sql "SELECT FROM collector_state LIMIT 0" > /dev/null; then
  heading "by symbol: status, first minute, newest minute, age in seconds, open gaps"
  sql "SELECT symbol, status, to_char(first_open_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), to_char(last_open_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), extract(epoch FROM now() - last_open_time)::bigint, (SELECT count(*) FROM candle_gaps g WHERE g.symbol = s.symbol AND g.state = 'open') FROM collector_state s ORDER BY 5 DESC NULLS FIRST, 1 LIMIT 20" | sed 's/^/  /'
fi
summarise
