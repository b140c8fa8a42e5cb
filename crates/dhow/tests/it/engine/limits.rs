//! Every limit, reached by a real guest and named in the outcome.

use std::time::{Duration, Instant};

use dhow_core::abi::{Abi, Io};
use dhow_core::outcome::Reason;

use super::rig::Rig;

const MIB: u64 = 1 << 20;

#[tokio::test]
async fn cpu_time_ends_an_endless_loop_and_is_kept_to_50_ms() {
    let rig = Rig::new();
    let limit = Duration::from_millis(300);
    for (guest, path) in [("burn", "/"), ("http-kit", "/burn"), ("http-p3", "/burn")] {
        let target = rig.target(guest, |template| template.limits.cpu_time = limit);
        let failure = rig.get(&target, path).await.unwrap_err();
        assert_eq!(failure.reason, Reason::CpuTime, "{guest}");
        let cpu = rig.outcome().await.cpu;
        assert!(cpu >= limit, "{guest} was ended after {cpu:?} of CPU");
        assert!(cpu <= limit + Duration::from_millis(50), "{guest} had {cpu:?} of CPU");
    }
}

#[tokio::test]
async fn a_guest_that_sleeps_uses_no_cpu_time() {
    let rig = Rig::new();
    let cpu = |template: &mut dhow_core::function::Template| {
        template.limits.cpu_time = Duration::from_millis(100);
    };
    let sleep = rig.target("sleep", cpu);
    let answer = rig.post(&sleep, "/", "500").await.unwrap();
    assert_eq!(answer.text().trim(), "slept 500");
    let kit = rig.target("http-kit", cpu);
    assert_eq!(rig.get(&kit, "/sleep?ms=500").await.unwrap().status, 200);
    let outcome = rig.outcome().await;
    assert!(outcome.wall >= Duration::from_millis(500));
    assert!(outcome.cpu < Duration::from_millis(100), "{outcome:?}");
}

#[tokio::test]
async fn wall_time_ends_sleepers_and_burners() {
    let rig = Rig::new();
    let wall = |template: &mut dhow_core::function::Template| {
        template.limits.timeout = Duration::from_millis(300);
    };
    for (guest, path, body) in [
        ("sleep", "/", "60000"),
        ("burn", "/", ""),
        ("http-kit", "/sleep?ms=60000", ""),
        ("http-kit", "/burn", ""),
        ("http-p3", "/sleep?ms=60000", ""),
        ("http-p3", "/burn", ""),
    ] {
        // Compiling is not what this is about.
        rig.admit(dhow_testkit::guest(guest)).await.unwrap();
        let target = rig.target(guest, wall);
        let failure = rig.post(&target, path, body).await.unwrap_err();
        assert_eq!(failure.reason, Reason::WallTime, "{guest} {path}");
        assert_eq!(rig.outcome().await.status, 504);
    }
}

#[tokio::test]
async fn wall_time_cuts_an_answer_and_idle_time_a_streamed_one() {
    let rig = Rig::new();
    rig.admit(dhow_testkit::guest("http-kit")).await.unwrap();
    let whole = rig.target("http-kit", |t| t.limits.timeout = Duration::from_millis(500));
    let answer = rig.get(&whole, "/drip?n=100&ms=100").await.unwrap();
    assert_eq!(answer.cut.expect("it goes on for ever").reason, Reason::WallTime);

    let stream = rig.target("http-kit", |template| {
        template.limits.timeout = Duration::from_millis(500);
        template.limits.stream = true;
        template.limits.idle_timeout = Duration::from_secs(3);
    });
    let answer = rig.get(&stream, "/drip?n=12&ms=100").await.unwrap();
    assert!(answer.cut.is_none(), "{:?}", answer.cut);
    assert!(answer.text().contains("chunk 12"));
    let answer = rig.get(&stream, "/drip?n=2&ms=60000").await.unwrap();
    assert_eq!(answer.cut.expect("it pauses for a minute").reason, Reason::WallTime);
}

#[tokio::test]
async fn a_cpu_rate_is_kept_by_pausing() {
    let rig = Rig::new();
    rig.admit(dhow_testkit::guest("burn")).await.unwrap();
    let burn = rig.target("burn", |template| {
        template.limits.cpu_millis = Some(100);
        template.limits.timeout = Duration::from_secs(2);
    });
    let failure = rig.get(&burn, "/").await.unwrap_err();
    assert_eq!(failure.reason, Reason::WallTime);
    let outcome = rig.outcome().await;
    // A tenth of two seconds, and the burst.
    assert!(outcome.cpu < Duration::from_millis(300), "{outcome:?}");
    assert!(outcome.cpu > Duration::from_millis(10), "{outcome:?}");
}

#[tokio::test]
async fn memory_is_the_sum_over_memories_and_tables() {
    let rig = Rig::new();
    let memories = rig.target("memories", |template| template.limits.memory = 4 * MIB);
    let kib: u64 = rig.get(&memories, "/").await.unwrap().text().trim().parse().unwrap();
    assert!((4096 - 64..=4096).contains(&kib), "{kib} KiB under a limit of 4 MiB");
    let outcome = rig.outcome().await;
    assert!(outcome.failure.is_none(), "a refusal that the guest handles is no failure");
    assert!(outcome.peak_memory <= 4 * MIB && outcome.peak_memory > 3 * MIB, "{outcome:?}");
}

#[tokio::test]
async fn a_memory_bomb_fails_as_memory() {
    let rig = Rig::new();
    let limit = |template: &mut dhow_core::function::Template| template.limits.memory = 16 * MIB;
    let failure = rig.get(&rig.target("membomb", limit), "/").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Memory, "{failure:?}");
    assert!(rig.outcome().await.peak_memory <= 16 * MIB);
    let kit = rig.target("http-kit", limit);
    let failure = rig.get(&kit, "/alloc?mib=64").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Memory, "{failure:?}");
    assert_eq!(rig.get(&kit, "/alloc?mib=4").await.unwrap().status, 200);
}

#[tokio::test]
async fn a_module_that_starts_too_large_fails_as_memory() {
    let rig = Rig::new();
    let wat = br#"(module (memory (export "memory") 100) (func (export "_start")))"#;
    let target = rig.target_of(wat, Abi::Command, |template| template.limits.memory = MIB);
    assert_eq!(rig.get(&target, "/").await.unwrap_err().reason, Reason::Memory);
}

#[tokio::test]
async fn traps_are_named() {
    let rig = Rig::new();
    let trap = rig.target("trap", |_| ());
    for (how, word) in
        [("unreachable", "unreachable"), ("div0", "zero"), ("oob", "out of bounds"), ("abort", "")]
    {
        let failure = rig.post(&trap, "/", how).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Trap, "{how}");
        assert!(failure.message.contains(word), "{how}: {}", failure.message);
    }
    let failure = rig.get(&rig.target("recurse", |_| ()), "/").await.unwrap_err();
    assert_eq!(failure.reason, Reason::Trap);
    assert!(failure.message.contains("stack"), "{}", failure.message);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |template| template.limits.response_body = MIB);
    let answer = rig.get(&kit, "/big?mib=4").await.unwrap();
    assert_eq!(answer.cut.expect("4 MiB passed a limit of 1").reason, Reason::BadResponse);
    assert!(answer.body.len() as u64 <= MIB);
    assert!(rig.get(&kit, "/big?mib=1").await.unwrap().cut.is_none());
}

#[tokio::test]
async fn output_is_bounded() {
    let rig = Rig::new();
    for io in [Io::Stdio, Io::Keeper] {
        let flood = rig.target("flood", |template| {
            template.io = io;
            template.limits.output = MIB;
        });
        let failure = rig.get(&flood, "/").await.unwrap_err();
        assert_eq!(failure.reason, Reason::BadResponse, "{io}");
        assert!(failure.message.contains("1048576"), "{}", failure.message);
    }
}

#[tokio::test]
async fn logs_are_bounded_and_say_so() {
    let rig = Rig::new();
    let flood = rig.target("flood", |template| {
        template.limits.logs = 4096;
        template.limits.cpu_time = Duration::from_millis(200);
    });
    rig.post(&flood, "/", "stderr").await.unwrap_err();
    let lines = rig.heard.lines.lock();
    let bytes: usize = lines.iter().map(|(_, _, line)| line.len() + 1).sum();
    assert!(bytes < 8192, "{bytes} bytes of logs under a limit of 4096");
    assert!(lines.last().unwrap().2.contains("4096 bytes of logs"), "{:?}", lines.last());
}

#[tokio::test]
async fn places_and_queue_are_bounded() {
    let rig = Rig::new();
    let kit = rig.target("http-kit", |template| {
        template.limits.concurrency = 1;
        template.limits.queue = 1;
    });
    rig.get(&kit, "/").await.unwrap();
    let began = Instant::now();
    let (first, second, third) = tokio::join!(
        rig.get(&kit, "/sleep?ms=300"),
        rig.get(&kit, "/sleep?ms=300"),
        rig.get(&kit, "/sleep?ms=300"),
    );
    assert_eq!((first.unwrap().status, second.unwrap().status), (200, 200));
    assert_eq!(third.unwrap_err().reason, Reason::Concurrency);
    assert!(began.elapsed() >= Duration::from_millis(600), "the second did not wait");
    let outcomes = rig.heard.outcomes.lock();
    assert!(outcomes.iter().any(|outcome| outcome.phases.queue >= Duration::from_millis(250)));
}

#[tokio::test]
async fn the_servers_own_places_are_bounded() {
    let rig = Rig::with(|config| config.instances = 1);
    let kit = rig.target("http-kit", |_| ());
    rig.get(&kit, "/").await.unwrap();
    let (first, second) =
        tokio::join!(rig.get(&kit, "/sleep?ms=300"), rig.get(&kit, "/sleep?ms=300"));
    assert_eq!(first.unwrap().status, 200);
    assert_eq!(second.unwrap_err().reason, Reason::Overloaded);
}

#[tokio::test]
async fn an_answer_of_a_program_is_bounded_too() {
    let rig = Rig::new();
    for io in [Io::Stdio, Io::Keeper] {
        let hello = rig.target("hello", |template| {
            template.io = io;
            template.limits.response_body = 4;
        });
        let failure = rig.get(&hello, "/").await.unwrap_err();
        assert_eq!(failure.reason, Reason::BadResponse, "{io}");
        assert!(failure.message.contains("larger than 4 bytes"), "{failure:?}");
    }
}
