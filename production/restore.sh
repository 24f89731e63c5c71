#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Puts a backup in place of the database: production/restore.sh FILE [--yes]
#
# The backup goes into a new database first; only when that is complete do the services stop and
# the two change names. What was there stays as <name>_before_<time> until you drop it.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

file=${1:-}
[ -f "$file" ] || die "usage: production/restore.sh FILE [--yes]"
if [ -f "$file.sha256" ]; then
  (cd "$(dirname "$file")" && sha256sum --status -c "$(basename "$file").sha256") ||
    die "$file differs from its checksum: take another backup"
fi
running_container timescaledb > /dev/null
name=$(sql "SELECT current_database()")
stamp=$(date -u +%Y%m%d%H%M%S)
new=${name}_restored_$stamp
old=${name}_before_$stamp

if [ "${2:-}" != --yes ]; then
  printf '%s takes the place of database %s, which stays as %s. Go on? [y/N] ' "$file" "$name" "$old"
  read -r answer
  [ "$answer" = y ] || die "nothing was changed"
fi

in_new() { # SQL, in the new database
  in_database "psql -XqAt -v ON_ERROR_STOP=1 -U \"\$POSTGRES_USER\" -d $new" <<< "$1"
}
in_postgres() { in_database 'psql -XqAt -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres' <<< "$1"; }

# It warns that the background workers have to be started, which is done below.
QUIET="SET client_min_messages = error;"
say "restoring into $new; the services go on meanwhile"
in_postgres "CREATE DATABASE \"$new\" TEMPLATE template0"
has_timescale=$(sql "SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'")
if [ "$has_timescale" = 1 ]; then
  in_new "$QUIET CREATE EXTENSION timescaledb; SELECT timescaledb_pre_restore();" > /dev/null
fi
in_database "pg_restore --no-owner --no-privileges --exit-on-error -U \"\$POSTGRES_USER\" -d $new" < "$file" ||
  die "the restore failed; the database in use is untouched, $new is what came of it"
if [ "$has_timescale" = 1 ]; then
  in_new "$QUIET SELECT timescaledb_post_restore();" > /dev/null
fi
in_new "ANALYZE" > /dev/null

say "changing places"
compose stop data-collector order-events order-api api-server > /dev/null 2>&1
in_postgres "
  SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('$name', '$new');
  ALTER DATABASE \"$name\" RENAME TO \"$old\";
  ALTER DATABASE \"$new\" RENAME TO \"$name\";" > /dev/null
say "migrating (an older backup may lack tables; the services' users get their rights anew)"
compose run --rm -T --no-deps migrate > /dev/null 2>&1 < /dev/null || die "the migration failed: $COMPOSE run --rm migrate"
if [ "$has_timescale" = 1 ]; then
  # Nobody starts them for a database that was renamed: compression and retention would stand still.
  sql "SELECT _timescaledb_functions.restart_background_workers()" > /dev/null
fi
compose start data-collector order-events order-api api-server > /dev/null 2>&1
for service in data-collector order-events order-api api-server; do
  for id in $(containers "$service"); do
    await_healthy "$id" 120 || say "warning: $service is not healthy yet; see ./quick_check.sh"
  done
done
say "done. What the exchange and the chain had since the backup is being read again."
say "when all is well: DROP DATABASE \"$old\";"
