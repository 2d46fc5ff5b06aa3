#!/usr/bin/env bash
# Runs all findings, or those named, with one line each. Status 1: a behaviour has changed, or a finding did not run.
set -uo pipefail
cd "$(dirname "$0")" || exit 2

status=0
[ $# -gt 0 ] || set -- ./*.sh
for file in "$@"; do
    name=$(basename "$file" .sh)
    case $name in common | run-all) continue ;; esac
    if output=$(bash "./$name.sh" 2>&1); then
        echo "$name: as seen"
    else
        [ $? -eq 2 ] && echo "$name: NOT RUN" || echo "$name: CHANGED"
        printf '%s\n' "$output" | sed 's/^/    /'
        status=1
    fi
done
exit "$status"
