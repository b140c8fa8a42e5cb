//! `dhow doctor`: every fault of its table, planted and found by its name.

mod around;
mod folder;
mod machine;
mod network;
mod report;

/// A test for each fault, and the list of their names.
macro_rules! planted {
    ($($name:literal => $area:ident::$test:ident,)*) => {
        const PLANTED: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                $area::$test($name);
            }
        )*
    };
}

planted! {
    "port-taken" => network::port_taken,
    "port-refused" => network::port_refused,
    "open-files" => machine::open_files,
    "address-space" => machine::address_space,
    "max-map-count" => machine::max_map_count,
    "cgroup-memory" => machine::cgroup_memory,
    "cores" => machine::cores,
    "server-away" => network::server_away,
    "server-version" => network::server_version,
    "clock-skew" => network::clock_skew,
    "clock-future" => folder::clock_future,
    "disk-full" => machine::disk_full,
    "disk-read-only" => machine::disk_read_only,
    "disk-slow" => machine::disk_slow,
    "data-unusable" => folder::data_unusable,
    "data-rights" => folder::data_rights,
    "data-owner" => folder::data_owner,
    "data-in-use" => folder::data_in_use,
    "cache-damaged" => folder::cache_damaged,
    "cache-foreign" => folder::cache_foreign,
    "registry-unreachable" => network::registry_unreachable,
    "registry-credentials" => network::registry_credentials,
    "certificate-unreadable" => around::certificate_unreadable,
    "certificate-expired" => around::certificate_expired,
    "certificate-ending" => around::certificate_ending,
    "toolchain-c" => around::toolchain_c,
    "toolchain-go" => around::toolchain_go,
    "toolchain-rust" => around::toolchain_rust,
    "toolchain-js" => around::toolchain_js,
    "toolchain-python" => around::toolchain_python,
}

#[test]
fn each_fault_of_the_table_is_planted() {
    let doctor = report::Doctor::new();
    let listed = doctor.dhow(&["doctor", "--list", "-o", "name"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), PLANTED);
    let text = doctor.dhow(&["doctor", "--list"]);
    assert!(PLANTED.iter().all(|name| text.contains(name)), "{text}");
}

#[test]
fn what_is_well_is_no_fault_and_people_read_it() {
    let doctor = report::Doctor::new();
    std::fs::create_dir(doctor.data()).unwrap();
    let seen = doctor.examine(&[]);
    for name in ["port-taken", "port-refused", "data-rights", "data-owner", "data-unusable"] {
        assert_eq!(seen.state(name), "good", "{seen:?}");
    }
    let text = doctor.dhow(&["doctor", "-o", "table"]);
    assert!(text.contains("good    port-taken"), "{text}");
    assert!(text.contains("30 checks: "), "{text}");
}
