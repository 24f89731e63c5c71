#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Does every endpoint answer rightly and fast, the refusals too? Reading only: ./api_check.sh
folder=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
. "$folder/lib.sh"
. "$folder/checks.sh"
read_options "$@"
SLOW_MS=500 VERY_SLOW_MS=3000

expect() { # NAME URL STATUS PATTERN
  local status ms
  read -r status ms <<< "$(fetch "$2")"
  if [ "$status" = 000 ]; then crit "$1" "no answer" "$(how_to_start api-server)"
  elif [ "$status" != "$3" ]; then crit "$1" "answered $status instead of $3: $(head -c 120 "$BODY" | tr -d '\n')" "$RUNBOOK#api-errors"
  elif ! grep -q "$4" "$BODY"; then crit "$1" "answered without $4: $(head -c 120 "$BODY" | tr -d '\n')" "$RUNBOOK#api-errors"
  else grade "$1" "$ms" "$SLOW_MS" "$VERY_SLOW_MS" "$status in $ms ms" "$RUNBOOK#api-latency"; fi
}

heading "APIs ($MODE)"
check_running
check_health api-server
check_health order-api
market=$(address api-server) orders=$(address order-api)
if [ -n "$market" ]; then
  expect /symbols "$market/symbols" 200 '"symbols"'
  symbol=$(grep -o '"[A-Z0-9]*USD[A-Z]*"' "$BODY" | head -n 1 | tr -d '"')
  [ -n "$symbol" ] || symbol=$(sed 's/.*\["\([^"]*\)".*/\1/' "$BODY")
  expect /candles "$market/candles?symbol=$symbol&timeframe=5&limit=100" 200 '"open_price"'
  expect /price "$market/price?symbol=$symbol&timeframe=1H" 200 '"current_price"'
  expect /orderbook "$market/orderbook?symbol=$symbol&levels=10" 200 '"bids"'
  expect /metrics/history "$market/metrics/history" 200 '"services"'
  expect "unknown symbol" "$market/candles?symbol=NOSUCH&timeframe=5" 404 '"error"'
  expect "wrong timeframe" "$market/candles?symbol=$symbol&timeframe=7" 400 '"error"'
  if command -v curl > /dev/null; then
    answer=$(curl -s -i -N --http1.1 --max-time 2 -H 'Connection: Upgrade' -H 'Upgrade: websocket' \
      -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: bGlua29yYS1jaGVja3MhIQ==' \
      "$market/ws?symbol=$symbol&timeframe=1&type=candles" 2> /dev/null | head -n 1 | tr -d '\r\0')
    case $answer in
      *101*) good /ws "a socket is accepted" ;;
      *) crit /ws "no socket: ${answer:-no answer}" "$RUNBOOK#sockets-dropped" ;;
    esac
  else note /ws "not checked: curl is not installed"; fi
fi
if [ -n "$orders" ]; then
  expect /orders/all "$orders/orders/all?limit=1" 200 '"orders"'
  expect /statistics "$orders/statistics" 200 '"statistics"'
  expect "no such order" "$orders/orders/999999999" 404 '.'
fi
summarise
