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

roll() { # SERVICE: replaces its replicas one at a time, the new one first
  local service=$1 old count id
  mapfile -t old < <(containers "$service")
  count=${#old[@]}
  say "$service: replacing $count replicas"
  for id in "${old[@]}"; do
    compose up -d --no-deps --no-recreate --scale "$service=$((count + 1))" "$service" > /dev/null 2>&1
    for new in $(containers "$service"); do
      await_healthy "$new" 120 || die "a new replica of $service does not get healthy: docker logs $new"
    done
    # The gateway has to know the new one before the old one goes.
    sleep 3
    docker stop -t 20 "$id" > /dev/null
    docker rm "$id" > /dev/null
  done
}

for service in api-server order-api; do roll "$service"; done
for service in data-collector order-events; do
  say "$service: restarting (it catches up what it missed)"
  compose up -d --no-deps --force-recreate "$service" > /dev/null 2>&1
  await_healthy "$(container "$service")" 180 || die "$service does not get healthy: $COMPOSE logs $service"
done
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
