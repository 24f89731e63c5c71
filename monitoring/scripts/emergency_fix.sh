#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Mends what starting, restarting, migrating or ending stuck transactions can mend; asks before each
# step. Never deletes data.
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

restart_local() { supervisorctl restart "$(local_name "$1")"; }

mend_process() { # SERVICE
  local id state health
  if [ "$MODE" = local ]; then
    local_answers || return 0
    state=$(supervisorctl status "$(local_name "$1")" | awk '{print $2}')
    [ "$state" = RUNNING ] || offer "$1 is $state" restart_local "$1"
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
    # A store that hangs is restarted; a service that waits for a neighbour is left to wait.
    case $1 in timescaledb | redis)
      [ "$health" != unhealthy ] || offer "$1 does not answer" docker restart -t 60 "$id" ;;
    esac
  done
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
  offer "the suite does not run" "$ROOT/run_local.sh" --detach
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
