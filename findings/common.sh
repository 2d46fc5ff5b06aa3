# shellcheck shell=bash
# Sourced by every finding: installs packages in a temporary folder, and compares a program's output with the one seen.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Install the packages in an environment of their own, and print the versions. Status 2: they do not install.
install() {
    "${PYTHON:-python3}" -m venv "$folder/env" || exit 2
    if ! "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >"$folder/pip" 2>&1; then
        cat "$folder/pip"
        echo "could not install: $*"
        exit 2
    fi
    "$folder/env/bin/python" --version
    printf '%s\n' "$@"
}

# Run the program on standard input and print its output. Status 1: it failed, or the output is not that in `seen`.
compare() {
    cat >"$folder/program.py"
    printf '%s\n' "${seen:?}" >"$folder/seen"
    if ! (cd "$folder" && env/bin/python -W ignore program.py) >"$folder/output" 2>"$folder/errors"; then
        tail -n 20 "$folder/errors" >>"$folder/output"
        echo "the program failed" >>"$folder/output"
    fi
    cat "$folder/output"
    if ! diff "$folder/seen" "$folder/output" >"$folder/diff"; then
        echo "CHANGED (< seen, > now):"
        cat "$folder/diff"
        exit 1
    fi
}
