#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# The whole suite on this machine without Docker: ./run_local.sh [start|status|logs|restart|stop] [--help]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$root/local/venv.sh"
install local local/requirements.txt
export PYTHONPATH=$root/local:$root/common:$root/data-collector:$root/demo/chain
exec "$root/.venv/bin/python" -P "$root/local/main.py" "$@"
