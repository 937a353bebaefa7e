# Sourced by the other scripts: makes the virtual environment .venv, or finds it as it should be.
#   prepare EXTRAS PACKAGE...   EXTRAS as in pip install ".[EXTRAS]"; PACKAGES of Debian or Ubuntu
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
VENV="${EDGEPRESS_VENV:-.venv}"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

find_python() {
  for name in "${EDGEPRESS_PYTHON:-}" python3.11 python3.12 python3.13 python3; do
    [ -n "$name" ] || continue
    "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null &&
      { command -v "$name"; return; }
  done
  return 1
}

install_system_packages() {
  local missing=()
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return
  echo "installing system packages: ${missing[*]}" >&2
  as_root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive as_root apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# The links of scripts/typing, which a source distribution can't hold.
link_packages() {
  local folder=scripts/typing/edgepress name
  mkdir -p "$folder"
  for name in compress benchmarks deploy; do
    [ -e "$folder/$name" ] || ln -s "../../../$name" "$folder/$name"
  done
  for name in __init__.py __main__.py py.typed; do
    [ -e "$folder/$name" ] || ln -s "../../../package/$name" "$folder/$name"
  done
}

prepare() {
  local extras="$1" python stamp
  shift
  link_packages
  if command -v dpkg-query >/dev/null; then
    [ $# = 0 ] || install_system_packages "$@"
    find_python >/dev/null || install_system_packages python3 python3-venv
  fi
  python="$(find_python)" || { echo "Python 3.11, 3.12 or 3.13 is needed" >&2; exit 2; }
  stamp="$("$python" -V) [$extras] $(sha256sum pyproject.toml | cut -c-16)"
  grep -Fxq -- "$stamp" "$VENV/.edgepress" 2>/dev/null && return
  echo "making the environment $VENV (some minutes the first time)" >&2
  if [ ! -x "$VENV/bin/python" ] && ! "$python" -m venv "$VENV" 2>/dev/null; then
    rm -rf "$VENV"
    command -v dpkg-query >/dev/null && install_system_packages python3-venv
    "$python" -m venv "$VENV"
  fi
  "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".${extras:+[$extras]}"
  echo "$stamp" >>"$VENV/.edgepress"
}
