#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Mends what starting, migrating or ending stuck transactions can mend, and restarts what does not
# answer at all; asks before each step. Never deletes data.
#   ./emergency_fix.sh [--yes] [--dry-run]   --yes: ask nothing; --dry-run: only say what it would do
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"
YES=0 DRY=0
for option in ${REST[@]+"${REST[@]}"}; do
  case $option in
    --yes) YES=1 ;;
    --dry-run) DRY=1 ;;
    *) echo "unknown option $option" >&2; exit 2 ;;
  esac
done
done_steps=0 refused=0
HANG_S=${HANG_S:-15}

offer() { # WHAT COMMAND...
  local what=$1 answer=""
  shift
  if [ "$DRY" = 1 ]; then
    tell WOULD 36 "$what" "$*"
    warnings=$((warnings + 1))
    return 0
  fi
  if [ "$YES" = 0 ]; then
    printf '%s: %s\nDo it? [y/N] ' "$what" "$*"
    read -r answer || true
    [ "$answer" = y ] || { echo "left alone"; refused=$((refused + 1)); return 0; }
  fi
  if "$@" > /dev/null 2>&1; then tell DONE 32 "$what" "$*"; done_steps=$((done_steps + 1))
  else crit "$what" "did not work: $*" "$RUNBOOK"; fi
}

last_run_had() { grep -q "$1" "$LOCAL/run/state.json" 2> /dev/null; }

start_suite() { # as it ran last: with its ports and its source of prices, but nothing else of its
  # own file, whose addresses would be taken for the user's wish
  local name options=()
  ! last_run_had '"has_simulator":true' || options=(--exchange simulator)
  ! last_run_had '"has_simulator":false' || options=(--exchange binance)
  ! last_run_had '"chain_reason":"not wanted"' || options+=(--no-chain)
  for name in $(sed -n 's/^export \([A-Z0-9_]*\)=.*/\1/p' "$LOCAL/env"); do
    case $name in *_PORT | START_DATE) ;; *) unset "$name" ;; esac
  done
  offer "the suite does not run" "$ROOT/run_local.sh" --detach ${options[@]+"${options[@]}"}
  # shellcheck disable=SC1091
  . "$LOCAL/env"
}

mend_process() { # SERVICE
  local id state health
  if [ "$MODE" = local ]; then
    local_answers || return 0
    state=$(supervisorctl status "$(local_name "$1")" | awk '{print $2}')
    if [ "$state" != RUNNING ]; then offer "$1 is $state" "$ROOT/run_local.sh" restart "$1"
    elif hangs "$1"; then offer "$1 does not answer" "$ROOT/run_local.sh" restart "$1"; fi
    return 0
  fi
  for id in $(docker_ids "$1"); do
    state=$(docker inspect -f '{{.State.Status}}' "$id")
    health=$(docker inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{end}}' "$id")
    case $state in
      running) ;;
      paused) offer "$1 is paused" docker unpause "$id"; continue ;;
      *) offer "$1 is $state" docker start "$id"; continue ;;
    esac
    # A store that hangs is restarted, and a service that does not even say what is wrong with it;
    # one that says that it waits for a neighbour is left to wait.
    [ "$health" = unhealthy ] || continue
    case $1 in
      timescaledb | redis) offer "$1 does not answer" docker restart -t 60 "$id" ;;
      *) ! hangs "$1" "$id" || offer "$1 does not answer" docker restart "$id" ;;
    esac
  done
}

hangs() { # SERVICE [CONTAINER]: whatever it is asked, it gives no answer, for HANG_S seconds
  local until=$((SECONDS + HANG_S))
  while ! gives_answer "$@"; do
    [ "$SECONDS" -lt "$until" ] || return 0
    sleep 1
  done
  return 1
}

gives_answer() { # SERVICE [CONTAINER]
  local status _ port answer
  if [ -n "${2:-}" ]; then
    case $1 in
      gateway) limited docker exec "$2" wget -q -T 3 -O /dev/null http://127.0.0.1:8022/gateway; return ;;
      data-collector) port=8023 ;;
      api-server) port=8000 ;;
      order-api) port=8080 ;;
      order-events) port=8081 ;;
    esac
    limited docker exec "$2" python -c 'import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=3)
connection.request("GET", "/health")
connection.getresponse()' "$port" 2> /dev/null
    return
  fi
  case $1 in
    # A refusal is an answer, too: too many clients, or starting up.
    timescaledb) answer=$(sql "SELECT 1") || case $answer in *FATAL*) ;; *) return 1 ;; esac ;;
    redis) [ -n "$(redis_says PING 2> /dev/null)" ] ;;
    *) read -r status _ <<< "$(fetch "$(address "$1")/health" 3)"; [ "$status" != 000 ] ;;
  esac
}

await() { # SECONDS COMMAND...
  local left=$1
  shift
  while [ "$left" -gt 0 ]; do
    "$@" > /dev/null 2>&1 && return 0
    sleep 1
    left=$((left - 1))
  done
  return 1
}

migrate() {
  if [ "$MODE" = local ]; then (cd "$ROOT/migrations" && PYTHONPATH=$ROOT/common "$ROOT/.venv/bin/python" main.py)
  else docker start -a "$(docker_ids migrate | head -n 1)"; fi
}

end_transactions() {
  sql "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND now() - state_change > interval '5 minutes' AND pid <> pg_backend_pid()"
}

heading "emergency fix ($MODE)"
if [ "$MODE" = local ] && ! local_answers; then
  start_suite
fi
for service in timescaledb redis; do mend_process "$service"; done
[ "$DRY" = 1 ] || [ "$done_steps" = 0 ] || await 60 sql "SELECT 1" || true
check_database
check_redis
if [ "$database_answers" = 1 ]; then
  have=$(sql "SELECT version_num FROM alembic_version") || have=""
  want=$(ls "$ROOT"/migrations/versions/[0-9]*.py 2> /dev/null | sort | tail -n 1 | sed 's|.*/\([0-9]*\)_.*|\1|')
  [ "$have" = "$want" ] || offer "the schema is at ${have:-nothing} instead of $want" migrate
  ask "stuck transactions" "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND now() - state_change > interval '5 minutes'" || answer=0
  [ "$answer" = 0 ] || offer "$answer transactions idle for over 5 minutes" end_transactions
fi
for service in $SERVICES; do mend_process "$service"; done
[ "$MODE" = local ] || mend_process gateway
check_disk
[ "$refused" = 0 ] || warn "left alone" "$refused steps" "./emergency_fix.sh --yes does them"
note steps "$done_steps done; ./quick_check.sh in half a minute shows what came of it"
summarise
