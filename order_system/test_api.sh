#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Asks every endpoint of a running order API and compares status and form of the answers; /health
# must say that all is well.
# Usage: ./test_api.sh [URL]     default: http://127.0.0.1:8080
# Exits non-zero if any check failed. Needs curl and python3.
set -u
url=${1:-http://127.0.0.1:${ORDER_API_PORT:-8080}}
failed=0
passed=0
body=$(mktemp)
trap 'rm -f "$body"' EXIT

# check NAME STATUS PATH [PYTHON EXPRESSION about the decoded answer `a`]
check() {
    local name=$1 wanted=$2 path=$3 expression=${4:-True} status
    status=$(curl -sS -m 10 -o "$body" -w '%{http_code}' "$url$path") || status=000
    if [[ $status != "$wanted" ]]; then
        printf 'FAILED  %-44s HTTP %s instead of %s: %s\n' "$name" "$status" "$wanted" "$(head -c 200 "$body")"
        failed=$((failed + 1))
    elif ! python3 -c 'import json,sys
text=open(sys.argv[1]).read()
a=json.loads(text) if sys.argv[3]=="json" else text
sys.exit(not eval(sys.argv[2]))' "$body" "$expression" "${5:-json}" 2>/dev/null; then
        printf 'FAILED  %-44s not so: %s: %s\n' "$name" "$expression" "$(head -c 200 "$body")"
        failed=$((failed + 1))
    else
        printf 'ok      %s\n' "$name"
        passed=$((passed + 1))
    fi
}

nobody=0x00000000000000000000000000000000000000aB
page='{"orders","total","limit","offset","has_more","next_cursor","status"} <= set(a) and a["status"] == "success"'
# Anything but 200 fails with the reasons it gives: what the other answers say may be old then.
if [[ $(curl -sS -m 10 -o "$body" -w '%{http_code}' "$url/health" 2>/dev/null) == 503 ]]; then
    printf 'FAILED  %-44s %s\n' health "$(python3 -c 'import json,sys
parts = json.load(open(sys.argv[1]))["components"]
reasons = [f"{name[:-6]}: {value}" for name, value in parts.items() if name.endswith("_error")]
reasons += [f"event processor: {problem}" for problem in parts.get("problems", [])]
print("; ".join(reasons))' "$body" 2>/dev/null || head -c 200 "$body")"
    failed=$((failed + 1))
else
    check 'health' 200 /health 'a["overall_status"] == "healthy" and a["components"]["database"] == "HEALTHY"'
fi
check 'metrics' 200 /metrics '"process_cpu_seconds_total" in a' text
check 'description' 200 /openapi.json 'a["openapi"].startswith("3.") and "/orders/{order_id}" in a["paths"]'
check 'documentation' 200 /docs '"GET /orders/{order_id}" in a' text
for status in pending executed cancelled; do
    check "list of $status orders" 200 "/orders/$status?limit=5" \
        "$page and len(a['orders']) <= 5 and all(o['status'] == '${status^^}' for o in a['orders'])"
done
check 'list of all orders' 200 '/orders/all?limit=5' "$page and a['limit'] == 5"
check 'list of all orders, filtered' 200 '/orders/all?status=Pending' "$page"
check 'order of the list' 200 '/orders/all?limit=50' \
    '[(o["block_number"], o["id"]) for o in a["orders"]] == sorted(((o["block_number"], o["id"]) for o in a["orders"]), reverse=True)'
check "a user's orders" 200 "/users/$nobody/orders" "$page and a['total'] == 0"
check "a user's positions" 200 "/users/$nobody/positions" 'a["positions"] == [] and a["total"] == 0 and a["has_more"] is False'
check 'statistics' 200 /statistics 'set(a["statistics"]) == {"PENDING","EXECUTED","CANCELLED"} and all(set(v) == {"total","last_24h"} for v in a["statistics"].values())'
check 'unknown order' 404 /orders/9000000000000000000 '"not found" in a["error"]'
check 'id beyond 64 bits' 404 /orders/99999999999999999999 '"not found" in a["error"]'
check 'id that is no number' 400 /orders/abc 'a["error"] == "Invalid order_id format. Must be a number."'
check 'events of an unknown order' 404 /orders/9000000000000000000/events '"not found" in a["error"]'
check 'malformed address' 400 /users/0x12/orders '"Invalid address" in a["error"]'
check 'unknown status' 400 '/orders/all?status=open' 'a["error"] == "Invalid status. Use: pending, executed, cancelled"'
check 'limit out of bounds' 400 '/orders/all?limit=1001' '"between 1 and 1000" in a["error"]'
check 'unknown path' 404 /nothing '"error" in a'

first=$(curl -sS -m 10 "$url/orders/all?limit=1" 2>/dev/null | python3 -c '
import json, sys
orders = json.load(sys.stdin)["orders"]
print(orders[0]["id"], orders[0]["user_address"]) if orders else print("none")' 2>/dev/null)
if [[ -z $first ]]; then
    printf 'FAILED  %-44s the list of orders gives no answer\n' 'single orders'
    failed=$((failed + 1))
elif [[ $first != none ]]; then
    read -r id user <<<"$first"
    check "order $id" 200 "/orders/$id" "a['order']['id'] == $id and {'self_executable','updated_at','tx_hash','block_number','executor_address','amount_out','execution_tx_hash'} <= set(a['order'])"
    check "events of order $id" 200 "/orders/$id/events" "a['total'] >= 1 and any(e['event_type'] == 'CREATED' for e in a['events'])"
    check "orders of $user" 200 "/users/0x${user:2}/orders" 'a["total"] >= 1'
    upper=$(tr a-f A-F <<<"${user:2}")
    check 'the same in capitals' 200 "/users/0x$upper/orders" 'a["total"] >= 1'
else
    printf 'note    there are no orders yet: single orders were not checked\n'
fi
# curl keeps the socket open until its time is up (28), so only the answer's status counts.
status=$(curl -sS --http1.1 -N -m 2 -o "$body" -w '%{http_code}' -H 'Connection: Upgrade' \
    -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
    -H 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==' "$url/ws?status=pending" 2>/dev/null)
if [[ $status == 101 ]]; then
    printf 'ok      websocket\n'
    passed=$((passed + 1))
else
    printf 'FAILED  %-44s HTTP %s instead of 101\n' websocket "$status"
    failed=$((failed + 1))
fi
printf '%s passed, %s failed\n' "$passed" "$failed"
exit $((failed > 0))
