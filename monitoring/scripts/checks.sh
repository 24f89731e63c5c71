# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# The single checks; each tells its verdict in one line for each thing it looked at.

check_process() { # SERVICE
  local id state restarts any=0 lines
  if [ "$MODE" = local ]; then
    state=$(supervisorctl status "$(local_name "$1")" | awk '{print $2}')
    case $state in
      RUNNING) good "$1" "process runs" ;;
      "" | *[!A-Z]*) crit "$1" "the suite's supervisor does not answer" "./run_local.sh --detach" ;;
      *) crit "$1" "process is $state" "$(how_to_start "$1")" ;;
    esac
    return 0
  fi
  for id in $(docker_ids "$1"); do
    any=1
    lines=$(docker inspect -f '{{.Name}} {{.State.Status}} {{.RestartCount}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}' "$id")
    # shellcheck disable=SC2086
    set -- "$1" $lines
    restarts=$4
    if [ "$3" != running ]; then crit "$1" "container ${2#/} is $3" "$(how_to_start "$1")"
    elif [ "$5" = unhealthy ]; then warn "$1" "container ${2#/} runs but is not healthy" "what its /health says below; $RUNBOOK"
    elif [ "$restarts" -gt 3 ]; then warn "$1" "container ${2#/} was restarted $restarts times" "$(log_command "$1")"
    else good "$1" "container ${2#/} runs (${5})"; fi
  done
  [ "$any" = 1 ] || crit "$1" "there is no container" "docker compose up -d $1"
}

check_database() { # sets database_answers
  local answer
  if answer=$(sql "SELECT 1") && [ "$answer" = 1 ]; then
    database_answers=1
    good database "answers queries"
  else
    database_answers=0
    crit database "does not answer: $(echo "$answer" | tail -n 1 | cut -c 1-120)" "$(how_to_start timescaledb); $RUNBOOK#database-away"
  fi
}

ask() { # SUBJECT STATEMENT: sets answer; false, with a verdict of its own, if the database refuses
  local step="$RUNBOOK#database-away"
  answer=$(sql "$2") && return 0
  case $answer in *"does not exist"*) step="./emergency_fix.sh runs the migrations" ;; esac
  crit "$1" "the database refuses the question: $(echo "$answer" | head -n 1 | cut -c 1-120)" "$step"
  return 1
}

with_database() { # CHECK...: runs it if the database answers
  if [ "$database_answers" = 1 ]; then "$@"
  else note "${1#check_}" "not checked: the database does not answer"; fi
}

check_redis() {
  local answer
  answer=$( (redis_says PING) 2> /dev/null)
  if [ "$(echo "$answer" | tail -n 1 | tr -d '+')" = PONG ]; then good redis "answers PING"
  else crit redis "does not answer" "$(how_to_start redis); $RUNBOOK#redis-away"; fi
}

check_health() { # SERVICE: what it says of itself
  local url status ms reasons steps
  url=$(address "$1")
  if [ -z "$url" ]; then crit "$1" "has no address on this machine" "$(how_to_start "$1")"; return 0; fi
  read -r status ms <<< "$(fetch "$url/health")"
  case $status in
    200) good "$1" "healthy, answered in $ms ms" ;;
    000) crit "$1" "does not answer at $url" "$(how_to_start "$1")" ;;
    502 | 504) crit "$1" "the gateway finds no replica ($status)" "$(how_to_start "$1")" ;;
    503)
      reasons=$(told_reasons)
      steps=$(steps_for "$reasons")
      # The chain may be away without any fault of ours; what is stored is served meanwhile.
      if [ "$steps" = "$RUNBOOK#chain-away" ]; then warn "$1" "not healthy: $reasons" "$steps"
      else crit "$1" "not healthy: ${reasons:-see $url/health}" "${steps:-mend what it names; $RUNBOOK}"; fi ;;
    *) crit "$1" "answered $status at $url/health" "$(log_command "$1")" ;;
  esac
}

told_reasons() { # what /health names in $BODY: "part: reason; part: reason"
  {
    grep -o '"[a-z_]*":{"reason":"[^"]*"' "$BODY" | sed 's/":{"reason":"/: /'
    grep -o '"[a-z]*_error":"[^"]*"' "$BODY" | sed 's/_error":"/: /'
    grep -o '"problems":\["[^]]*\]' "$BODY" | sed 's/"problems":\[/event processor: /; s/\]$//; s/","/, /g'
  } | tr -d '"' | cut -c 1-200 | paste -sd ';' - | sed 's/;\([a-z]\)/; \1/g'
}

steps_for() { # REASONS: the runbook's paragraphs about them
  local steps="" part
  for part in database redis exchange stream live_data; do
    case "; $1" in *"; $part: "*) steps="$steps, $RUNBOOK#${part/live_data/live-data}-away" ;; esac
  done
  if grep -q '"\(status\|event_processor\)":"\(ERROR\|RESET\)"' "$BODY"; then steps="$steps, $RUNBOOK#scanner-error"
  else case "; $1" in *"; chain: "* | *"not at the head"*) steps="$steps, $RUNBOOK#chain-away" ;; esac; fi
  case $1 in *"blocks behind the head"*) steps="$steps, $RUNBOOK#scanner-lag" ;; esac
  case $1 in *"no sign of life"*) steps="$steps, $(how_to_start order-events)" ;; esac
  case $1 in *" dead letters"*) steps="$steps, $RUNBOOK#dead-letters" ;; esac
  case $1 in *"state contradicts"*) steps="$steps, $RUNBOOK#order-audit" ;; esac
  echo "${steps#, }"
}

check_candles() {
  local answer rows symbol age
  ask candles "SELECT symbol, coalesce(extract(epoch FROM now() - last_open_time)::bigint, 999999) FROM collector_state ORDER BY 2 DESC" || return 0
  rows=$answer
  [ -n "$rows" ] || { warn candles "no symbol has been collected yet" "$(log_command data-collector)"; return 0; }
  IFS='|' read -r symbol age <<< "$(echo "$rows" | head -n 1)"
  grade candles "$age" 150 300 "newest minute of the oldest of $(echo "$rows" | wc -l | tr -d ' ') symbols ($symbol) opened $age s ago" \
    "is the collector running, and does the exchange answer? ./quick_check.sh; $RUNBOOK#candle-lag"
}

check_books() {
  local answer symbol age
  ask "order books" "SELECT symbol, extract(epoch FROM now() - (SELECT max(\"timestamp\") FROM orderbook_data o WHERE o.symbol = s.symbol AND \"timestamp\" > now() - interval '1 day'))::bigint AS age FROM collector_state s ORDER BY age DESC NULLS FIRST LIMIT 1" || return 0
  IFS='|' read -r symbol age <<< "$answer"
  [ -n "$symbol" ] || { note "order books" "none yet"; return 0; }
  if [ -z "$age" ]; then warn "order books" "$symbol has had none for a day" "$RUNBOOK#books-stale"; return 0; fi
  grade "order books" "$age" 60 600 "the oldest newest book ($symbol) is $age s old" "$RUNBOOK#books-stale"
}

check_gaps() {
  local answer open oldest minutes
  ask "open gaps" "SELECT count(*), coalesce(max(extract(epoch FROM now() - opened_at))::bigint, 0), coalesce(sum(extract(epoch FROM to_time - from_time) / 60)::bigint, 0) FROM candle_gaps WHERE state = 'open'" || return 0
  IFS='|' read -r open oldest minutes <<< "$answer"
  grade "open gaps" "$oldest" 1800 14400 "$open gaps ($minutes minutes) are being repaired, the oldest for $oldest s" "$RUNBOOK#open-gaps"
}

check_completeness() {
  local answer
  ask rollups "SELECT count(*) FROM candles_1h h WHERE open_time >= now() - interval '7 hours' AND close_time < now() - interval '10 minutes' AND minutes <> (SELECT count(*) FROM candles c WHERE c.symbol = h.symbol AND c.open_time >= h.open_time AND c.open_time <= h.close_time)" || return 0
  grade rollups "$answer" 1 1 "$answer hours of the last six differ from their minutes" "report it: this must never be; $RUNBOOK#rollups-differ"
  ask "missing minutes" "SELECT count(*) FROM (SELECT symbol, open_time, lag(open_time) OVER (PARTITION BY symbol ORDER BY open_time) AS before FROM candles WHERE open_time > now() - interval '6 hours') AS m WHERE open_time - before > interval '1 minute' AND NOT EXISTS (SELECT FROM candle_gaps g WHERE g.symbol = m.symbol AND g.from_time < m.open_time AND g.to_time > m.before)" || return 0
  grade "missing minutes" "$answer" 1 10 "$answer holes of the last six hours are in no ledger of gaps" "the collector looks for them every 10 minutes; $RUNBOOK#open-gaps"
}

check_scanner() {
  local answer status lag age discrepancies detail
  ask chain "SELECT status, coalesce(head_block - last_block, 0), extract(epoch FROM now() - updated_at)::bigint, discrepancies, left(translate(detail, E'|\\n', '  '), 200) FROM system_state LIMIT 1" || return 0
  [ -n "$answer" ] || { note chain "no chain is followed (WEB3_PROVIDER, TRADING_ADDRESS)"; return 0; }
  IFS='|' read -r status lag age discrepancies detail <<< "$answer"
  if [ "$status" = ERROR ]; then crit chain "the event processor holds: $detail" "$RUNBOOK#scanner-error"
  elif [ "$age" -ge 300 ]; then crit chain "no sign of life of the event processor for $age s" "$(how_to_start order-events)"
  elif [ "$age" -ge 60 ]; then warn chain "no sign of life of the event processor for $age s" "$(how_to_start order-events)"
  elif [ "$status" = RECOVERY ] && [ -n "${detail##catching up*}" ]; then warn chain "cannot be followed: $detail" "$RUNBOOK#chain-away"
  else grade chain "$lag" 50 1000 "$status, $lag blocks behind the head" "$RUNBOOK#scanner-lag"; fi
  ask "dead letters" "SELECT count(*) FROM dead_letters WHERE resolved_at IS NULL" || return 0
  grade "dead letters" "$answer" 1 100 "$answer events could not be digested" "$RUNBOOK#dead-letters"
  grade "order audit" "${discrepancies:-0}" 1 10 "$discrepancies open orders differ from the contract's state" "$RUNBOOK#order-audit"
}

check_disk() {
  local where usage free
  if [ "$MODE" = local ]; then
    where=$LOCAL
    usage=$(df -Pk "$LOCAL" | awk 'NR == 2 {print $5, $4}')
  else
    where="the database's volume"
    usage=$(limited docker exec "$(docker_ids timescaledb | head -n 1)" df -Pk /var/lib/postgresql/data 2> /dev/null | awk 'NR == 2 {print $5, $4}')
    [ -n "$usage" ] || usage=$(docker_volume_usage)
  fi
  [ -n "$usage" ] || { warn disk "cannot be measured while the database is away" "df -h"; return 0; }
  read -r usage free <<< "${usage/\%/}"
  grade disk "$usage" "$DISK_WARNING_PERCENT" "$DISK_CRITICAL_PERCENT" "$usage % used, $((free / 1024)) MB free ($where)" "./monitor_growth.sh shows what grows; $RUNBOOK#disk-full"
}

docker_volume_usage() { # where the daemon is on this machine, also while the container is down
  local path
  path=$(docker inspect -f '{{range .Mounts}}{{if eq .Destination "/var/lib/postgresql/data"}}{{.Source}}{{end}}{{end}}' "$(docker_ids timescaledb | head -n 1)" 2> /dev/null)
  [ -z "$path" ] || df -Pk "$path" 2> /dev/null | awk 'NR == 2 {print $5, $4}'
}

check_connections() {
  local answer used most
  ask connections "SELECT count(*), current_setting('max_connections') FROM pg_stat_activity WHERE backend_type = 'client backend'" || return 0
  IFS='|' read -r used most <<< "$answer"
  grade connections "$((used * 100 / most))" 70 90 "$used of $most are used" "who holds them: ./db_connections_check.sh; fewer by DB_POOL_SIZE; $RUNBOOK#connections"
  ask "idle in transaction" "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND now() - state_change > interval '1 minute'" || return 0
  grade "idle in transaction" "$answer" 1 5 "$answer transactions idle for over a minute" "./emergency_fix.sh ends those of over 5 minutes"
  ask "waiting for locks" "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND now() - query_start > interval '10 seconds'" || return 0
  grade "waiting for locks" "$answer" 1 5 "$answer statements wait for over 10 s" "./db_connections_check.sh names who blocks"
  ask "long statements" "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND now() - query_start > interval '1 minute'" || return 0
  grade "long statements" "$answer" 1 5 "$answer statements run for over a minute" "./db_connections_check.sh shows them"
}

check_figures() {
  local answer
  ask figures "SELECT string_agg(service, ', ') FROM (SELECT service FROM service_metrics WHERE \"time\" > now() - interval '1 hour' AND metric = 'healthy' GROUP BY service HAVING max(\"time\") < now() - interval '4 minutes') AS s" || return 0
  if [ -n "$answer" ]; then warn figures "no figures for minutes from: $answer" "$RUNBOOK#service-silent"
  else good figures "every service of the last hour writes its figures"; fi
}

check_schema() {
  local answer have want
  ask schema "SELECT version_num FROM alembic_version" || return 0
  have=$answer
  want=$(ls "$ROOT"/migrations/versions/[0-9]*.py 2> /dev/null | sort | tail -n 1 | sed 's|.*/\([0-9]*\)_.*|\1|')
  if [ "$have" = "$want" ]; then good schema "is at $have, the newest"
  else warn schema "is at ${have:-nothing}, the newest is $want" "./emergency_fix.sh runs the migrations"; fi
}

check_logs() { # SERVICE
  local errors id
  if [ "$MODE" = local ]; then
    errors=$(tail -n 2000 "$LOCAL/logs/$1.log" 2> /dev/null | grep -c '"level": "\(error\|critical\)"')
  else
    errors=0
    for id in $(docker_ids "$1"); do
      errors=$((errors + $(limited docker logs --since 10m "$id" 2>&1 | grep -c '"level": "\(error\|critical\)"')))
    done
  fi
  grade "log of $1" "$errors" 1 50 "$errors errors lately" "$(log_command "$1")"
}

check_redis_use() {
  local used most clients
  used=$( (redis_says INFO memory) 2> /dev/null | tr -d '\r' | sed -n 's/^used_memory://p')
  most=$( (redis_says INFO memory) 2> /dev/null | tr -d '\r' | sed -n 's/^maxmemory://p')
  clients=$( (redis_says INFO clients) 2> /dev/null | tr -d '\r' | sed -n 's/^connected_clients://p')
  [ -n "$used" ] || { note "redis memory" "not known"; return 0; }
  if [ "${most:-0}" = 0 ]; then good "redis memory" "$((used / 1024 / 1024)) MB, $clients clients"
  else grade "redis memory" "$((used * 100 / most))" 70 90 "$((used / 1024 / 1024)) of $((most / 1024 / 1024)) MB, $clients clients" "$RUNBOOK#redis-memory"; fi
}
