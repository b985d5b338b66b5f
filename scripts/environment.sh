# Sourced by the scripts beside it: makes .venv and installs lossbench into it, once.
#   prepare_environment EXTRA...   extras of pyproject.toml, such as test
# Says plainly what is missing when something is.

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

fail() {
  printf 'lossbench: %s\n' "$*" >&2
  exit 1
}

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11 python; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  fail "Python 3.11 or newer is needed, and none was found (set PYTHON=/path/to/python3 to name one)"
}

prepare_environment() {
  local venv=$project/.venv extras stamp wanted log free
  extras=$(IFS=,; printf '%s' "$*")
  # An environment that has an extra serves those who ask for none.
  stamp=$venv/.lossbench-$(printf '%s' "${extras:-base}" | tr ',' '-')
  wanted=$(cat "$project/pyproject.toml" "$project/constraints.txt" | cksum)
  if [ -x "$venv/bin/lossbench" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    return
  fi
  local python
  python=$(find_python) || exit 1
  if [ ! -x "$venv/bin/python" ]; then
    echo "Making $venv with $("$python" --version) ..."
    "$python" -m venv "$venv" >/dev/null 2>&1 ||
      fail "$python cannot make a virtual environment (on Debian and Ubuntu: apt-get install python3-venv)"
  fi
  free=$(df -Pk "$project" | awk 'NR == 2 {print int($4 / 1024)}')
  [ "${free:-0}" -ge 200 ] || fail "the disk of $project has $free MiB free; the packages need about 2,500"
  log=$venv/install.log
  echo "Installing lossbench and its packages (some minutes the first time; log: $log) ..."
  if ! "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
    --constraint "$project/constraints.txt" --editable "$project${extras:+[$extras]}" >"$log" 2>&1; then
    if grep -qiE 'No space left|Errno 28' "$log"; then
      fail "the disk is full ($free MiB were free; the packages need about 2,500)"
    elif grep -qiE 'NewConnectionError|Temporary failure in name|Connection (refused|reset)|timed out|ProxyError|No matching distribution' "$log"; then
      fail "the packages could not be fetched: is there a network? The last lines of $log: $(tail -n 2 "$log")"
    fi
    fail "the installation failed; the last lines of $log: $(tail -n 3 "$log")"
  fi
  printf '%s' "$wanted" >"$stamp"
}
