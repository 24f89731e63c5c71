#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Is everything up, and is the data fresh? Ten seconds, reading only: ./quick_check.sh
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"

heading "quick check ($MODE)"
check_running
for service in timescaledb redis $SERVICES; do check_process "$service"; done
[ "$MODE" = local ] || check_process gateway
check_database
check_redis
for service in $SERVICES; do check_health "$service"; done
with_database check_candles
with_database check_books
with_database check_scanner
check_disk
summarise
