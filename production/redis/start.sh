#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Starts Redis with a user for each service, each with the commands, channels and keys that it
# needs. Passwords come from the environment and go in hashed, by standard input: no list of
# processes and no file shows them.
set -eu

hash() { # of a variable's value
  eval "value=\$$1"
  [ -n "$value" ] || { echo "$1 is empty" >&2; exit 2; }
  printf %s "$value" | sha256sum | cut -d ' ' -f 1
}

admin=$(hash REDIS_PASSWORD)
collector=$(hash COLLECTOR_REDIS_PASSWORD)
api=$(hash API_REDIS_PASSWORD)
order_events=$(hash ORDER_EVENTS_REDIS_PASSWORD)
order_api=$(hash ORDER_API_REDIS_PASSWORD)

# What every connection says at its start (CLIENT SETINFO is refused, which clients ignore: on old
# servers its permission cannot be given alone), and what alerts need to be told once.
connect="-@all +ping +hello +auth"
alerts="~alert:* +set +del"
# Rate limits are counted by a script (common/linkora/limits.py).
limits="~rate_limit* +evalsha +eval +script|load +pttl +pexpire +incrby"
listen="+subscribe +unsubscribe +psubscribe +punsubscribe"

read='%R~' # for reading only, which Redis knows from 7.0 on
case $(redis-server --version) in *v=6.*) read='~' ;; esac

exec redis-server - <<END
dir ${REDIS_DIR:-/data}
port ${REDIS_PORT:-6379}
bind ${REDIS_BIND:-*}
protected-mode no
appendonly yes
maxmemory ${REDIS_MAXMEMORY:-256mb}
maxmemory-policy noeviction
tcp-keepalive 60
timeout 0
client-output-buffer-limit pubsub 64mb 16mb 60
user default off
user admin on #$admin ~* &* +@all
user health on nopass resetkeys resetchannels -@all +ping
user collector on #$collector resetkeys resetchannels $connect $alerts ~recent_trades:* &candles:* &orderbook:* &trades:* +publish +lpush +ltrim +expire
user api on #$api resetkeys resetchannels $connect $alerts $limits ${read}recent_trades:* &candles:* &orderbook:* &trades:* $listen +lrange
user order_events on #$order_events resetkeys resetchannels $connect $alerts &orders:* +publish
user order_api on #$order_api resetkeys resetchannels $connect $alerts $limits &orders:* $listen
END
