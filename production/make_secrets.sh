#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Fills the passwords that are empty in .env (ENV_FILE) with random ones; prints none of them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
file=${ENV_FILE:-.env}
umask 077
[ -e "$file" ] || echo "# Settings of this suite; .env.example has all there are." > "$file"
chmod 600 "$file"
made=0
for name in DB_PASSWORD COLLECTOR_DB_PASSWORD API_DB_PASSWORD ORDER_EVENTS_DB_PASSWORD \
  ORDER_API_DB_PASSWORD REDIS_PASSWORD COLLECTOR_REDIS_PASSWORD API_REDIS_PASSWORD \
  ORDER_EVENTS_REDIS_PASSWORD ORDER_API_REDIS_PASSWORD GRAFANA_PASSWORD; do
  grep -qE "^$name=.+" "$file" && continue
  secret=$(od -An -tx1 -N24 /dev/urandom | tr -d ' \n')
  { grep -vE "^#?$name=" "$file" || true; echo "$name=$secret"; } > "$file.new"
  mv "$file.new" "$file"
  made=$((made + 1))
done
echo "$made passwords made in $file (mode 600); keep a copy where backups are"
