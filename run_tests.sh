#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Installs what is needed and runs everything: lint, types, import rules, tests.
# Arguments go to pytest: ./run_tests.sh tests/e2e -k socket
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$root"
. local/venv.sh
install tests requirements-dev.txt
PATH=$root/.venv/bin:$PATH
# Our packages come from the work tree, never from a copy that pip has made.
PYTHONPATH=$root/common:$root/data-collector:$root/api-server:$root/order_system:$root/migrations
export PYTHONPATH=$PYTHONPATH:$root/demo/exchange:$root/demo/chain:$root/local:$root/tests

# Anvil and PGlite (PostgreSQL with TimescaleDB in WebAssembly).
for folder in demo/chain tests/testkit/node; do
  [ "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ] ||
    (cd "$folder" && npm install --no-save --omit=dev --ignore-scripts --no-audit --no-fund --silent &&
      touch node_modules/.package-lock.json)
done

echo "== ruff"
ruff check .
ruff format --check .
echo "== mypy --strict"
mypy
echo "== import-linter"
lint-imports --no-logo

# The Compose smoke test needs a daemon and the base images: say so loudly where it cannot run.
selection=()
if reason=$(python -P tests/compose/can_run.py); then
  echo "== pytest, with the Compose smoke test"
else
  echo "== pytest"
  echo "** COMPOSE SMOKE TEST NOT RUN: $reason **"
  selection=(-m "not compose")
fi
python -P -m pytest ${selection[@]+"${selection[@]}"} "$@"
[ ${#selection[@]} -eq 0 ] || echo "** COMPOSE SMOKE TEST NOT RUN: $reason **"
