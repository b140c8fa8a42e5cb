#!/usr/bin/env bash
# Shows that every fuzz target finds its planted bug within a minute, then fuzzes the real code for
# FUZZ_SECONDS (10) a target. Fails when a planted bug is missed, or when anything else is found.
set -euo pipefail
cd "$(dirname "$0")"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
seconds=${FUZZ_SECONDS:-10}
targets=(intake native keeper cgi manifest layer)
built=$CARGO_TARGET_DIR/$(rustc -vV | sed -n 's/^host: //p')/release

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# run TARGET ARTIFACTS FLAG…: what is new goes to a folder of its own, not into the committed corpus,
# none of which is longer than max_len.
run() {
    local target=$1 artifacts=$2
    shift 2
    rm -rf "$scratch/new"
    mkdir -p "$scratch/new" "$artifacts"
    nice "$built/$target" -dict="dict/$target.dict" -max_len=2048 -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$artifacts/" "$@" "$scratch/new" "corpus/$target" > "$scratch/log" 2>&1
}

nice cargo build --locked --release --features planted
for target in "${targets[@]}"; do
    started=$SECONDS
    # The committed corpus alone must not reach it, or nothing would be shown. The seed is fixed, so
    # that little is left to luck.
    if ! run "$target" "$scratch/planted" -runs=0; then
        cat "$scratch/log" >&2
        echo "$target: fails on its own corpus" >&2
        exit 1
    fi
    if run "$target" "$scratch/planted" -seed=1 -max_total_time=60 || ! grep -aq '^planted' "$scratch/log"; then
        tail -n 40 "$scratch/log" >&2
        echo "$target: did not find its planted bug in 60 s" >&2
        exit 1
    fi
    echo "$target: found its planted bug in $((SECONDS - started)) s, not in its corpus"
done

nice cargo build --locked --release
for target in "${targets[@]}"; do
    if ! run "$target" "artifacts/$target" -max_total_time="$seconds"; then
        tail -n 60 "$scratch/log" >&2
        echo "$target: found something; the input is in fuzz/artifacts/$target/" >&2
        exit 1
    fi
    echo "$target: $(sed -n 's/^Done \([0-9]*\) runs.*/\1/p' "$scratch/log") inputs, nothing found"
done
