#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Restarts services without a failed request: production/restart.sh [SERVICE ...]
#
# The APIs one replica at a time, the new one healthy before the old one goes; collector and event
# processor catch up what they missed. Without a name: these four. Compose itself stops
# all replicas of a service at once, and whoever asks meanwhile gets 502.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

[ $# -gt 0 ] || set -- api-server order-api data-collector order-events
for service in "$@"; do
  case $service in
    api-server | order-api | data-collector | order-events) ;;
    *) die "$service: this restarts api-server, order-api, data-collector and order-events" ;;
  esac
done
for service in "$@"; do
  case $service in
    api-server | order-api) roll "$service" ;;
    *) renew "$service" ;;
  esac
done
say "done"
