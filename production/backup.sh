#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Writes a backup of the whole database while everything runs: production/backup.sh [FOLDER]
#
# One file, compressed, consistent as of its start (pg_dump, custom format), with a checksum beside
# it. It is written under another name until it is complete and can be read back. The newest
# KEEP_BACKUPS (14) stay; older ones of this suite go. Roles are not in it: the migration job makes
# them anew.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

folder=${1:-backups}
keep=${KEEP_BACKUPS:-14}
case $keep in '' | *[!0-9]* | 0) die "KEEP_BACKUPS=$keep: allowed are whole numbers from 1" ;; esac
mkdir -p "$folder"
chmod 700 "$folder"
umask 077
running_container timescaledb > /dev/null

name=$folder/linkora-$(date -u +%Y%m%dT%H%M%SZ).dump
need_kb=$(($(sql "SELECT pg_database_size(current_database())") / 1024 / 2))
free_kb=$(df -Pk "$folder" | awk 'NR == 2 {print $4}')
[ "$free_kb" -gt "$need_kb" ] ||
  die "$folder has $((free_kb / 1024)) MB free, a backup may take $((need_kb / 1024)) MB: make room"

say "backing up to $name"
trap 'rm -f "$name.part"' EXIT
# TimescaleDB's own tables have circular keys, of which pg_dump warns for nothing.
in_database 'pg_dump -Fc -Z 6 --no-owner --no-privileges -U "$POSTGRES_USER" "$POSTGRES_DB"' \
  > "$name.part" 2> >(grep -v -e 'circular foreign-key' -e 'pg_dump: detail' -e 'pg_dump: hint' >&2 || true) < /dev/null
in_database 'pg_restore --list' < "$name.part" | grep 'TABLE DATA public candles ' > /dev/null ||
  die "the backup cannot be read back: it is not kept"
mv "$name.part" "$name"
(cd "$folder" && sha256sum "$(basename "$name")" > "$(basename "$name").sha256")
say "done: $(du -h "$name" | cut -f 1), checksum beside it"

# shellcheck disable=SC2012
ls -1 "$folder"/linkora-*.dump | sort -r | tail -n +$((keep + 1)) | while read -r old; do
  rm -f "$old" "$old.sha256"
  say "dropped $old (KEEP_BACKUPS=$keep)"
done
