#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Everything that can be looked at, reading only: ./full_diagnostics.sh
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"

heading "processes ($MODE)"
check_running
for service in timescaledb redis $SERVICES; do check_process "$service"; done
[ "$MODE" = local ] || check_process gateway
heading "stores"
check_database
check_redis
check_redis_use
with_database check_schema
with_database check_connections
check_disk
heading "services"
for service in $SERVICES; do check_health "$service"; done
with_database check_figures
heading "data"
with_database check_candles
with_database check_books
with_database check_gaps
with_database check_completeness
with_database check_scanner
heading "logs"
for service in $SERVICES; do check_logs "$service"; done
heading "this machine"
note load "$(uptime | sed 's/.*load average/load average/')"
note versions "$(sql "SELECT 'PostgreSQL ' || current_setting('server_version') || coalesce((SELECT ', TimescaleDB ' || extversion FROM pg_extension WHERE extname = 'timescaledb'), ', no TimescaleDB')" | head -n 1)"
note commit "$(git -C "$ROOT" log -1 --format='%h %cs %s' 2> /dev/null || echo unknown)"
summarise
