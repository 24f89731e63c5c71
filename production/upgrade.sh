#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Brings the running suite to the checked-out version without a failed request:
#   git pull && production/backup.sh && production/upgrade.sh
#
# Order: build, migrate, APIs one replica at a time, then collector and event processor, gateway
# last. Migrations only add (docs/operations.md), so that the old services work on the new schema
# meanwhile. Every step is safe to repeat: after a failure mend it and run this again.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

running_container timescaledb > /dev/null
say "building the images"
[ "${SKIP_BUILD:-0}" = 1 ] || compose build > /dev/null
say "migrating"
compose run --rm -T --no-deps migrate > /dev/null 2>&1 < /dev/null || die "the migration failed: $COMPOSE run --rm migrate"

for service in api-server order-api; do roll "$service"; done
for service in data-collector order-events; do renew "$service"; done
say "gateway: new configuration, if there is one"
gateway=$(running_container gateway)
wanted=$(docker image inspect -f '{{.Id}}' linkora/gateway:local)
if [ "$(docker inspect -f '{{.Image}}' "$gateway")" != "$wanted" ]; then
  compose up -d --no-deps gateway > /dev/null 2>&1
  say "note: the gateway itself was replaced; connections of that second were cut"
elif ! docker exec "$gateway" sh /production/start.sh reload; then
  die "the gateway refused its new configuration and goes on with the old one"
fi
say "done"
