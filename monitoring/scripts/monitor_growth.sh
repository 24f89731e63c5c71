#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# How large is the database, what grows, when is the disk full? Reading only: ./monitor_growth.sh
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"

heading "growth ($MODE)"
check_running
check_database
check_disk
if [ "$database_answers" = 1 ]; then
  good size "$(sql "SELECT pg_size_pretty(pg_database_size(current_database()))")"
  # From the services' figures: how the size changed over the last day, at least over an hour.
  ask growth "WITH s AS (SELECT \"time\", value FROM service_metrics WHERE metric = 'database_size_bytes' AND \"time\" > now() - interval '1 day'), e AS (SELECT (SELECT value FROM s ORDER BY \"time\" LIMIT 1) AS first, (SELECT value FROM s ORDER BY \"time\" DESC LIMIT 1) AS last, extract(epoch FROM max(\"time\") - min(\"time\")) AS seconds FROM s) SELECT round(((last - first) * 86400 / seconds)::numeric), round(seconds::numeric / 3600, 1) FROM e WHERE seconds >= 3600" && known=1 || known=0
  row=$answer
  if [ "$known" = 0 ]; then :
  elif [ -z "$row" ]; then note growth "not known yet: the figures of an hour are needed"
  else
    IFS='|' read -r per_day hours <<< "$row"
    free_kb=$(if [ "$MODE" = local ]; then df -Pk "$LOCAL"; else docker exec "$(docker_ids timescaledb | head -n 1)" df -Pk /var/lib/postgresql/data; fi | awk 'NR == 2 {print $4}')
    text="$((per_day / 1024 / 1024)) MB a day (seen over $hours h)"
    if [ "$per_day" -le 0 ]; then good growth "$text"
    else
      days=$((free_kb * 1024 / per_day))
      text="$text, the disk lasts $days days"
      next_step="a larger disk, or lower ORDERBOOK_RETENTION_DAYS; $RUNBOOK#disk-full"
      if [ "$days" -lt 3 ]; then crit growth "$text" "$next_step"
      elif [ "$days" -lt 14 ]; then warn growth "$text" "$next_step"
      else good growth "$text"; fi
    fi
  fi
  heading "largest tables: name, size, rows (estimated)"
  if [ "$(sql "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")" = 1 ]; then
    sql "SELECT hypertable_name, pg_size_pretty(hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass)), approximate_row_count(format('%I.%I', hypertable_schema, hypertable_name)::regclass) FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public' ORDER BY hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass) DESC LIMIT 8" | sed 's/^/  /'
  fi
  sql "SELECT relname, pg_size_pretty(pg_total_relation_size(oid)), greatest(reltuples, 0)::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY pg_total_relation_size(oid) DESC LIMIT 8" | sed 's/^/  /'
fi
summarise
