#!/usr/bin/env bash
# Makes a Rust toolchain with the three WebAssembly targets out of Debian packages, for machines where
# `rustup target add` has no server to ask. Prints the folder of the toolchain.
#
# It is a copy of the rustc in use (hard links, about 80 MB more for each target). The standard library
# comes from the package rust-src, which must be of the same version as that rustc, and the C library
# below it from wasi-libc, both of trixie-backports; -Zbuild-std builds them.
set -euo pipefail

cache=$(realpath -m "${DHOW_GUEST_CACHE:-$HOME/.cache/dhow/guests}")
toolchain=$cache/rust-toolchain
work=$cache/rust-toolchain-work
targets="wasm32-wasip1 wasm32-wasip2 wasm32-unknown-unknown"
version=$(rustc --version | cut -d ' ' -f 2)

make_toolchain() {
    mkdir -p "$work"
    rm -rf "$toolchain.new"
    # The folder may be a link to another; it is the files that have to be copied.
    cp -al "$(realpath "$(rustc --print sysroot)")" "$toolchain.new"
    download_packages
    mkdir -p "$toolchain.new/lib/rustlib/src"
    ln -sfn "$work/rust-src/usr/src/rustc-$version" "$toolchain.new/lib/rustlib/src/rust"
    rm -rf "$toolchain"
    mv "$toolchain.new" "$toolchain"
    for target in $targets; do
        build_target "$target"
    done
    touch "$toolchain/complete-$version"
}

# Asks the mirror that apt already uses for another suite, without touching apt's own lists.
download_packages() {
    mkdir -p "$work/lists/partial" "$work/archives/partial"
    local mirror
    # shellcheck disable=SC2016  # the format is apt's, not the shell's
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sed -n 1p)
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie-backports main" > "$work/sources.list"
    local options=(-q -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update > "$work/apt.log"
    local package
    package=$(apt-cache "${options[@]}" madison rust-src | awk -v want="$version+" 'index($3, want) == 1 { print $3; exit }')
    if [ -z "$package" ]; then
        echo "no package rust-src for rustc $version" >&2
        exit 1
    fi
    (cd "$work" && apt-get "${options[@]}" download "rust-src=$package" wasi-libc >> "$work/apt.log")
    dpkg -x "$work"/rust-src_"${package//:/%3a}"*.deb "$work/rust-src"
    dpkg -x "$work"/wasi-libc_*.deb "$work/wasi-libc"
}

# Builds std as the dependency of an empty crate and puts its libraries where rustc looks for them.
build_target() {
    local target=$1 lib=$toolchain/lib/rustlib/$1/lib
    mkdir -p "$lib/self-contained" "$work/std/src"
    if [ "$target" != wasm32-unknown-unknown ]; then
        cp "$work/wasi-libc/usr/lib/$target"/{crt1-command.o,crt1-reactor.o,libc.a} "$lib/self-contained/"
    fi
    : > "$work/std/src/lib.rs"
    printf '[package]\nname = "empty"\nedition = "2024"\n[workspace]\n[profile.release]\ncodegen-units = 1\n' > "$work/std/Cargo.toml"
    # Without the bitcode a guest with LTO does not link; without the remapping it would carry the
    # paths of this machine in its panic messages.
    (cd "$work/std" && env \
        RUSTC="$toolchain/bin/rustc" RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR="$work/std/target" \
        RUSTFLAGS="-Cembed-bitcode=yes --remap-path-prefix=$toolchain/lib/rustlib/src/rust=/rust --remap-path-prefix=$work/rust-src/usr/src/rustc-$version=/rust --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}/registry/src=/crates" \
        "$toolchain/bin/cargo" build --quiet --release -Zbuild-std=std,panic_abort,panic_unwind --target "$target") >&2
    cp "$work/std/target/$target/release/deps"/*.rlib "$lib/"
    rm -f "$lib"/libempty-*
}

[ -e "$toolchain/complete-$version" ] || make_toolchain
echo "$toolchain"
