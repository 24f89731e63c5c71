#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Installs the diagnostic scripts into the project's root, as links: monitoring/setup_monitoring.sh
# Run it again after an update; --remove takes them away.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
names="quick_check full_diagnostics emergency_fix db_connections_check data_check api_check monitor_growth"

for name in $names; do
  target=$root/$name.sh
  if [ -e "$target" ] && [ ! -L "$target" ]; then
    echo "$target is there and not ours: left alone" >&2
    exit 2
  fi
  rm -f "$target"
  [ "${1:-}" = --remove ] || ln -s "monitoring/scripts/$name.sh" "$target"
done
if [ "${1:-}" = --remove ]; then echo "removed"; exit 0; fi
for program in curl docker; do
  command -v "$program" > /dev/null || echo "note: $program is not installed; some checks do without it"
done
echo "installed into $root:"
for name in $names; do printf '  ./%-26s %s\n' "$name.sh" "$(sed -n '3s/^# //p' "$root/monitoring/scripts/$name.sh")"; done
