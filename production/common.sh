# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# What backup.sh, restore.sh, restart.sh and upgrade.sh share. COMPOSE is how to call Compose with your files,
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

roll() { # SERVICE: replaces its replicas one at a time, the new one first: no request fails
  local service=$1 old id new
  mapfile -t old < <(containers "$service")
  [ "${#old[@]}" -gt 0 ] || die "$service does not run: $COMPOSE up -d $service"
  say "$service: replacing ${#old[@]} replicas"
  for id in "${old[@]}"; do
    compose up -d --no-deps --no-build --no-recreate --scale "$service=$((${#old[@]} + 1))" "$service" > /dev/null 2>&1
    for new in $(containers "$service"); do
      # An old one may be what is ill and has to go; the new one has to be well.
      case " ${old[*]} " in *" $new "*) continue ;; esac
      await_healthy "$new" 120 || die "a new replica of $service does not get healthy: docker logs $new"
    done
    # The gateway has to know the new one before the old one goes.
    sleep 3
    docker stop -t 20 "$id" > /dev/null
    docker rm "$id" > /dev/null
  done
}

renew() { # SERVICE that runs once: replaces it; it catches up what it missed
  say "$1: restarting (it catches up what it missed)"
  compose up -d --no-deps --no-build --force-recreate "$1" > /dev/null 2>&1
  await_healthy "$(container "$1")" 180 || die "$1 does not get healthy: $COMPOSE logs $1"
}
