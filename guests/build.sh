#!/usr/bin/env bash
# Rebuilds the guest programs: guests/build.sh c|rust|go|js|python|all
set -euo pipefail
cd "$(dirname "$0")"

build_c() {
    for source in c/*/*.c; do
        module=${source%.c}.wasm
        echo "$module"
        clang --target=wasm32-wasi -O2 -Wall -Wextra -Werror -Wl,--strip-all -o "$module" "$source"
        chmod 644 "$module"
    done
}

case ${1:-} in
c) build_c ;;
*) echo "usage: guests/build.sh c|rust|go|js|python|all" >&2; exit 2 ;;
esac
