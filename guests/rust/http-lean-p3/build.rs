//! A stack of 16 KiB instead of 1 MiB: the whole memory of the guest is then one page.

fn main() {
    println!("cargo::rustc-link-arg-cdylib=-zstack-size=16384");
}
