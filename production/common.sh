# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# What backup.sh, restore.sh and upgrade.sh share. COMPOSE is how to call Compose with your files,
# e.g. COMPOSE="docker compose -p mine -f docker-compose.yml -f docker-compose.prod.yml".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ -z "${COMPOSE:-}" ]; then
  if docker compose version > /dev/null 2>&1; then COMPOSE="docker compose"; else COMPOSE=docker-compose; fi
  COMPOSE="$COMPOSE -f docker-compose.yml -f docker-compose.prod.yml"
fi

say() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*"; }
die() { echo "$*" >&2; exit 2; }
compose() { $COMPOSE "$@"; }
containers() { compose ps -q "$1" 2> /dev/null; }
container() { containers "$1" | head -n 1; }

running_container() { # of a service; dies if there is none
  local id
  id=$(container "$1")
  [ -n "$id" ] && [ "$(docker inspect -f '{{.State.Running}}' "$id")" = true ] ||
    die "$1 does not run: start it first ($COMPOSE up -d $1)"
  echo "$id"
}

# Its own environment has the names; passwords never appear in a command line.
in_database() { docker exec -i "$(running_container timescaledb)" sh -c "$1"; }
sql() { in_database 'psql -XqAt -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "${TARGET:-$POSTGRES_DB}"' <<< "$1"; }

await_healthy() { # CONTAINER SECONDS
  local waited=0 state
  while :; do
    state=$(docker inspect -f '{{if .State.Health}}{{.State.Health.Status}}{{else}}healthy{{end}}' "$1")
    [ "$state" = healthy ] && return 0
    [ "$waited" -lt "$2" ] || return 1
    sleep 1
    waited=$((waited + 1))
  done
}
