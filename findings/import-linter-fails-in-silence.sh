#!/usr/bin/env bash
# lint-imports ends with exit code 1 and no message where root_packages names a package inside a package.
# Seen in import-linter 2.17 with grimp 3.20: grimp raises NotATopLevelModule, whose text is empty, and the command
# prints its banner and empty lines. A package that doesn't exist is named, and a broken contract is printed.
# Why it matters: a build goes red with no word of why, as if a contract were broken; it is the configuration.
# Instead: name the top-level package and keep contracts to modules below it; --debug shows the exception.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile import-linter==2.17 grimp==3.20
cd "$folder"
mkdir -p shop/till
touch shop/__init__.py shop/till/__init__.py shop/till/receipts.py

lint() { # the root package; prints the last words and the exit code
    printf '[importlinter]\nroot_packages =\n    %s\n[importlinter:contract:1]\nname = receipts stand alone\n' "$1" >.importlinter
    printf 'type = forbidden\nsource_modules = shop.till.receipts\nforbidden_modules = shop.till\n' >>.importlinter
    code=0
    PYTHONPATH=. venv/bin/lint-imports --no-cache --no-logo >said 2>&1 || code=$?
    words=$(grep -E '[[:alpha:]]{3}' said | tail -n 1 || true)
    echo "root_packages = $1: exit code $code, last words: \"$words\""
}

venv/bin/pip list 2>/dev/null | grep -iE '^(import-linter|grimp) '
echo "expected: every exit code but 0 comes with a reason"
lint elsewhere
missing=$code:$words
lint shop.till
silent=$code:$words
[[ $missing == 1:?* && $silent == 1: ]] || exit 3
