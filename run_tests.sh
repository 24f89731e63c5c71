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

# Everything is run, also after a finding; the last lines say what failed.
failed=()
check() { echo "== $*"; "$@" || failed+=("$*"); }
check ruff check .
check ruff format --check .
check mypy
check lint-imports --no-logo

# What cannot run here is left out, and said loudly.
left_out=()
# The tests of the web page need Chromium: root on Debian installs it.
has_browser() { python -P -c 'from testkit.browser import chromium; chromium()' 2>/dev/null; }
if ! has_browser && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Chromium (once)"
  (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    chromium fonts-dejavu-core) >.venv/chromium-install.log 2>&1 || tail -5 .venv/chromium-install.log
fi
has_browser || left_out+=("browser: Chromium is not installed")
reason=$(python -P tests/containers/can_run.py) || left_out+=("compose: $reason")
selection=""
for each in ${left_out[@]+"${left_out[@]}"}; do
  selection="${selection:+$selection and }not ${each%%:*}"
done
say_left_out() {
  for each in ${left_out[@]+"${left_out[@]}"}; do echo "** TESTS NOT RUN: $each **"; done
}
# Files of tests run side by side, each worker with servers of its own; a given Redis is one for
# all, and is emptied by each test that uses it. Then the Compose files' tests in the same way: they
# change the machine's networks, and a browser would lose its connections.
workers=$(($(nproc) < 4 ? $(nproc) : 4))
[ -z "${TEST_REDIS_URL:-}" ] || workers=0
tests_in_parts() { # sets result: pytest's exit code, the worse of the two
  local side_by_side=(-n "$workers" --dist loadfile --no-loadscope-reorder --max-worker-restart 0)
  python -P -m pytest "${side_by_side[@]}" -m "not compose${selection:+ and $selection}" "$@"
  local first=$?
  python -P -m pytest "${side_by_side[@]}" -m "compose${selection:+ and $selection}" "$@"
  local compose=$?
  # 5, no test to run, counts only if both say so.
  [ $first -ne 5 ] || first=$compose
  [ $compose -ne 5 ] || compose=$first
  result=$((first > compose ? first : compose))
}
# What failed is run once more, alone: on a busy machine a test may wait for too long. Whatever
# passes only then is named as flaky, which is a finding too, but of the test.
tests() {
  tests_in_parts "$@"
  [ $result -ne 0 ] || return 0
  if [ $result -ne 1 ]; then
    echo "** THE RUN ENDED EARLY; everything is run again, one after the other **"
    python -P -m pytest ${selection:+-m "$selection"} "$@"
    return
  fi
  echo "** TESTS FAILED; they are run once more, and those that pass now are FLAKY: **"
  python -P -m pytest -v --last-failed --last-failed-no-failures none \
    ${selection:+-m "$selection"} "$@"
}
say_left_out
check tests "$@"
say_left_out
for each in ${failed[@]+"${failed[@]}"}; do echo "** FAILED: $each **"; done
[ ${#failed[@]} -eq 0 ]
