//! The queue on a real disk, through restarts, and on one that fails when it is told to.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use bytes::Bytes;
use dhow_core::name::Label;
use dhow_core::queue::{CallState, Note, Work};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use redb::{Database, StorageBackend};
use tempfile::TempDir;

use super::recover::INTERRUPTIONS;
use super::*;

mod damage;
mod space;

pub(super) fn new_call(id: u128, function: &str) -> NewCall {
    NewCall {
        id: CallId(id),
        function: FunctionName::parse(function).unwrap(),
        queue: Label::default_namespace(),
        head: dhow_core::queue::CallHead {
            method: Method::POST,
            uri: "/x?y".parse().unwrap(),
            full_uri: "/async-function/f/x?y".parse().unwrap(),
            script_name: "/async-function/f".to_owned(),
            headers: HeaderMap::new(),
            peer: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
        },
        callback: None,
        keep_result: Duration::ZERO,
        idempotency_key: None,
        most_body: 1 << 20,
    }
}

pub(super) fn keyed(id: u128, key: &str) -> NewCall {
    NewCall { idempotency_key: Some(key.to_owned()), ..new_call(id, "f") }
}

pub(super) fn body(bytes: impl Into<Bytes>) -> CallBody {
    body::of_row(bytes.into())
}

fn open(folder: &TempDir) -> EmbeddedQueue {
    EmbeddedQueue::open(folder.path(), Config::default()).unwrap()
}

async fn keep(queue: &EmbeddedQueue, id: u128) {
    let accepted = queue.enqueue(new_call(id, "f"), body(id.to_string())).await.unwrap();
    assert_eq!(accepted, Accepted { call: CallId(id), is_repeat: false });
}

pub(super) async fn lease(queue: &EmbeddedQueue) -> Lease {
    tokio::time::timeout(Duration::from_secs(60), queue.lease(&|_, _| true)).await.expect("work")
}

async fn text(work: Work) -> String {
    let Work::Run { body, .. } = work else { panic!("it is to be run") };
    String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

pub(super) fn answer(text: &str) -> Answer {
    Answer {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::copy_from_slice(text.as_bytes()),
        is_cut: false,
        took: Duration::from_millis(1),
    }
}

pub(super) fn note() -> Note {
    Note::new("status", 500, "it answered 500")
}

fn depth(queue: &EmbeddedQueue, state: CallState) -> u64 {
    queue.figures().depths.iter().filter(|row| row.1 == state).map(|row| row.2).sum()
}

fn files(folder: &TempDir) -> usize {
    [BODIES, BEGUN]
        .map(|name| std::fs::read_dir(folder.path().join(name)).unwrap().count())
        .iter()
        .sum()
}

#[tokio::test]
async fn a_call_that_is_done_is_gone_and_the_file_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    keep(&queue, 1).await;
    assert_eq!(depth(&queue, CallState::Waiting), 1);
    let lease = lease(&queue).await;
    assert_eq!((lease.call, lease.attempts), (CallId(1), 0));
    assert_eq!(depth(&queue, CallState::Running), 1);
    assert_eq!(text(lease.work).await, "1");
    queue.settle(lease.id, Settle::Finished(None)).await.unwrap();
    assert_eq!(queue.show(CallId(1)).await, Err(QueueError::NotFound(CallId(1))));
    assert_eq!(queue.figures().bytes, 0);
    let again = queue.settle(lease.id, Settle::Finished(None)).await;
    assert_eq!(again, Err(QueueError::LeaseLost));
    use std::os::unix::fs::PermissionsExt as _;
    let mode =
        |name| std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(FILE), mode(BODIES)), (0o600, 0o700));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_one_sync() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    let before = queue.figures().commits;
    let calls: Vec<_> = (0..400)
        .map(|id| {
            let queue = queue.clone();
            tokio::spawn(async move { keep(&queue, id).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let figures = queue.figures();
    assert_eq!(figures.enqueued, 400);
    assert!(figures.commits - before < 200, "{} transactions", figures.commits - before);
    drop(queue);
    let queue = open(&folder);
    let mut seen = HashSet::new();
    for _ in 0..400 {
        seen.insert(lease(&queue).await.call);
    }
    assert_eq!(seen.len(), 400);
}

#[tokio::test]
async fn a_lease_of_a_dead_process_is_given_back_under_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open(&folder);
    keep(&queue, 7).await;
    for _ in 0..INTERRUPTIONS {
        let lease = lease(&queue).await;
        assert_eq!((lease.call, lease.attempts), (CallId(7), 0));
        // Not settled: as a process that was killed leaves it.
        drop(queue);
        queue = open(&folder);
    }
    // What ends its server again and again is set aside.
    let view = queue.show(CallId(7)).await.unwrap();
    assert_eq!(view.state, CallState::Dead);
    assert_eq!(view.note.unwrap().reason, "interrupted");
    queue.retry(CallId(7)).await.unwrap();
    assert_eq!(lease(&queue).await.call, CallId(7));
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_no_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open(&folder);
    keep(&queue, 7).await;
    for _ in 0..=INTERRUPTIONS {
        let lease = lease(&queue).await;
        queue.settle(lease.id, Settle::Release).await.unwrap();
        drop(queue);
        queue = open(&folder);
    }
    assert_eq!(queue.show(CallId(7)).await.unwrap().state, CallState::Waiting);
}

#[tokio::test]
async fn attempts_and_their_reason_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    keep(&queue, 1).await;
    let first = lease(&queue).await;
    let (after, counted) = (Duration::from_millis(10), true);
    queue.settle(first.id, Settle::Again { after, note: note(), counted }).await.unwrap();
    drop(queue);
    let queue = open(&folder);
    assert_eq!(queue.show(CallId(1)).await.unwrap().note, Some(note()));
    let second = lease(&queue).await;
    assert_eq!((second.call, second.attempts), (CallId(1), 1));
    queue.settle(second.id, Settle::Dead(note(), None)).await.unwrap();
    drop(queue);
    let queue = open(&folder);
    let view = queue.show(CallId(1)).await.unwrap();
    assert_eq!((view.state, view.note), (CallState::Dead, Some(note())));
    let view = queue.retry(CallId(1)).await.unwrap();
    assert_eq!((view.state, view.attempts), (CallState::Waiting, 0));
    let third = lease(&queue).await;
    assert_eq!(text(third.work).await, "1");
}

#[tokio::test]
async fn an_answer_waits_for_its_callback_and_is_kept_when_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    let callback = Some("https://example.com/c?secret".parse().unwrap());
    let keep_result = Duration::from_secs(60);
    let call = NewCall { callback, keep_result, ..new_call(1, "f") };
    queue.enqueue(call, body("x")).await.unwrap();
    let run = lease(&queue).await;
    assert!(matches!(run.work, Work::Run { wants_answer: true, .. }));
    queue.settle(run.id, Settle::Finished(Some(answer("done")))).await.unwrap();
    drop(queue);
    let queue = open(&folder);
    let view = queue.show(CallId(1)).await.unwrap();
    assert_eq!(view.state, CallState::Callback);
    assert_eq!(view.callback.as_deref(), Some("https://example.com/c"));
    let delivery = lease(&queue).await;
    assert_eq!(delivery.lane, Lane::Callbacks);
    let Work::CallBack { url, answer: found } = delivery.work else { panic!("a callback") };
    assert_eq!(
        (url.to_string().as_str(), *found),
        ("https://example.com/c?secret", answer("done"))
    );
    queue.settle(delivery.id, Settle::Finished(None)).await.unwrap();
    assert_eq!(queue.show(CallId(1)).await.unwrap().state, CallState::Done);
    assert_eq!(queue.answer(CallId(1)).await, Ok(Some(answer("done"))));
    assert!(matches!(queue.retry(CallId(1)).await, Err(QueueError::Conflict { .. })));
}

#[tokio::test]
async fn a_key_is_one_call_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    queue.enqueue(keyed(1, "k"), body("x")).await.unwrap();
    let repeat = queue.enqueue(keyed(2, "k"), body("x")).await.unwrap();
    assert_eq!(repeat, Accepted { call: CallId(1), is_repeat: true });
    let other = queue.enqueue(keyed(3, "k"), body("y")).await;
    assert_eq!(other, Err(EnqueueError::KeyReused));
    let elsewhere = NewCall { function: FunctionName::parse("g").unwrap(), ..keyed(4, "k") };
    assert!(!queue.enqueue(elsewhere, body("x")).await.unwrap().is_repeat);
    // Also when the call is long done, and after a restart.
    let lease = lease(&queue).await;
    queue.settle(lease.id, Settle::Finished(None)).await.unwrap();
    drop(queue);
    let queue = open(&folder);
    let repeat = queue.enqueue(keyed(5, "k"), body("x")).await.unwrap();
    assert_eq!(repeat, Accepted { call: CallId(1), is_repeat: true });
    assert_eq!(queue.figures().repeats, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_sent_by_many_at_once_is_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    let sent: Vec<_> = (0..50)
        .map(|id| {
            let queue = queue.clone();
            tokio::spawn(async move {
                queue.enqueue(keyed(id, "k"), body(vec![1; 100_000])).await.unwrap()
            })
        })
        .collect();
    let mut names = HashSet::new();
    for sent in sent {
        names.insert(sent.await.unwrap().call);
    }
    assert_eq!(names.len(), 1);
    assert_eq!(depth(&queue, CallState::Waiting), 1);
    assert_eq!(files(&folder), 1, "the bodies of repeats are not kept");
}

#[tokio::test]
async fn a_large_body_is_a_file_that_lives_as_long_as_its_call() {
    let folder = tempfile::tempdir().unwrap();
    let large: Vec<u8> = (0..700_000_u32).map(|at| u8::try_from(at % 253).unwrap()).collect();
    let queue = open(&folder);
    queue.enqueue(new_call(1, "f"), body(large.clone())).await.unwrap();
    let too_large = queue.enqueue(new_call(2, "f"), body(vec![0; (1 << 20) + 1])).await;
    assert_eq!(too_large, Err(EnqueueError::TooLarge { most: 1 << 20 }));
    drop(queue);
    let stray = folder.path().join(BODIES).join(CallId(9).to_string());
    std::fs::write(&stray, "of a call that was never acknowledged").unwrap();
    std::fs::write(folder.path().join(BEGUN).join(CallId(1).to_string()), "begun").unwrap();
    let queue = open(&folder);
    assert_eq!(files(&folder), 1);
    let lease = lease(&queue).await;
    let Work::Run { body: found, .. } = lease.work else { panic!("it is to be run") };
    assert_eq!(found.collect().await.unwrap().to_bytes(), large);
    queue.settle(lease.id, Settle::Finished(None)).await.unwrap();
    assert_eq!((files(&folder), queue.figures().bytes), (0, 0));
}

#[tokio::test]
async fn a_call_that_is_cancelled_is_gone_and_whoever_runs_it_hears_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    keep(&queue, 1).await;
    keep(&queue, 2).await;
    let running = lease(&queue).await;
    queue.cancel(CallId(1)).await.unwrap();
    queue.cancel(CallId(2)).await.unwrap();
    running.lost.await;
    let late = queue.settle(running.id, Settle::Finished(None)).await;
    assert_eq!(late, Err(QueueError::LeaseLost));
    assert_eq!(queue.cancel(CallId(1)).await, Err(QueueError::NotFound(CallId(1))));
    assert!(queue.list(CallFilter::default(), None, 9).await.unwrap().views.is_empty());
    drop(queue);
    assert_eq!(open(&folder).figures().bytes, 0);
}

#[tokio::test]
async fn a_listing_goes_on_where_it_ended_and_purge_takes_what_a_filter_takes() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    for id in 0..10 {
        let function = if id % 2 == 0 { "even.shop" } else { "odd" };
        queue.enqueue(new_call(id, function), body("")).await.unwrap();
    }
    let ids = |page: &CallPage| page.views.iter().map(|view| view.call.0).collect::<Vec<_>>();
    let even = CallFilter { namespace: Some("shop".parse().unwrap()), ..CallFilter::default() };
    let page = queue.list(even.clone(), None, 2).await.unwrap();
    assert_eq!(ids(&page), [8, 6]);
    // Where it goes on is a place, also when the last call of a page ends meanwhile.
    queue.cancel(CallId(6)).await.unwrap();
    let page = queue.list(even.clone(), page.next, 9).await.unwrap();
    assert_eq!((ids(&page), page.next), (vec![4, 2, 0], None));
    let visible = Some(vec!["shop".parse().unwrap(), "other".parse().unwrap()]);
    let seen = CallFilter { visible, ..CallFilter::default() };
    assert_eq!(ids(&queue.list(seen, None, 99).await.unwrap()), [8, 4, 2, 0]);
    let running = lease(&queue).await;
    assert_eq!(running.call, CallId(0));
    assert_eq!(queue.purge(even).await, Ok(3), "what runs is not purged");
    let left = queue.list(CallFilter::default(), None, 99).await.unwrap();
    assert_eq!(ids(&left), [9, 7, 5, 3, 1, 0]);
}

#[tokio::test]
async fn dead_letters_results_and_keys_are_forgotten_by_age() {
    let folder = tempfile::tempdir().unwrap();
    let short = Duration::from_millis(50);
    let config = Config { dead_letters: short, keys: short, ..Config::default() };
    let queue = EmbeddedQueue::open(folder.path(), config).unwrap();
    queue.enqueue(NewCall { keep_result: short, ..keyed(1, "k") }, body("")).await.unwrap();
    keep(&queue, 2).await;
    for _ in 0..2 {
        let lease = lease(&queue).await;
        let settle = match lease.call {
            CallId(1) => Settle::Finished(Some(answer("x"))),
            _ => Settle::Dead(note(), None),
        };
        queue.settle(lease.id, settle).await.unwrap();
    }
    while queue.figures().bytes > 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(queue.figures().depths.is_empty());
}

/// A file in memory that outlives its database, and that is full when it is told to be.
#[derive(Debug, Default)]
pub(crate) struct Medium {
    bytes: Mutex<Vec<u8>>,
    pub(crate) full: AtomicBool,
}

#[derive(Debug)]
struct OnMedium(Arc<Medium>);

impl OnMedium {
    fn check(&self) -> io::Result<()> {
        match self.0.full.load(SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for OnMedium {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.bytes.lock().len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).expect("a small file");
        out.copy_from_slice(&self.0.bytes.lock()[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.check()?;
        self.0.bytes.lock().resize(usize::try_from(length).expect("a small file"), 0);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let at = usize::try_from(offset).expect("a small file");
        self.0.bytes.lock()[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

pub(crate) fn on_medium(folder: &TempDir, medium: &Arc<Medium>) -> EmbeddedQueue {
    let medium = medium.clone();
    let open: OpenDatabase =
        Box::new(move || Ok(Database::builder().create_with_backend(OnMedium(medium.clone()))?));
    EmbeddedQueue::open_with(folder.path(), Config::default(), open, Arc::new(System)).unwrap()
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_refuses_new_calls_and_loses_no_end() {
    let (folder, medium) = (tempfile::tempdir().unwrap(), Arc::new(Medium::default()));
    let queue = on_medium(&folder, &medium);
    for id in 1..=3 {
        keep(&queue, id).await;
    }
    let (first, second) = (lease(&queue).await, lease(&queue).await);
    medium.full.store(true, SeqCst);
    let refused = queue.enqueue(new_call(4, "f"), body("4")).await;
    assert_eq!(refused, Err(EnqueueError::Full("the disk is full")));
    // The ends of calls wait; they are not forgotten.
    let ends = async {
        tokio::join!(
            queue.settle(first.id, Settle::Finished(None)),
            queue.settle(second.id, Settle::Dead(note(), None)),
        )
    };
    let mut ends = Box::pin(ends);
    assert!(tokio::time::timeout(Duration::from_millis(700), &mut ends).await.is_err());
    medium.full.store(false, SeqCst);
    assert_eq!(ends.await, (Ok(()), Ok(())));
    keep(&queue, 4).await;
    drop(queue);
    let queue = on_medium(&folder, &medium);
    let views = queue.list(CallFilter::default(), None, 9).await.unwrap().views;
    let stand: Vec<_> = views.iter().map(|view| (view.call.0, view.state)).collect();
    let waiting = CallState::Waiting;
    assert_eq!(stand, [(4, waiting), (3, waiting), (2, CallState::Dead)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_while_it_pauses_is_a_queue() {
    let (folder, copies) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let queue = open(&folder);
    let stop = Arc::new(AtomicBool::new(false));
    let (busy, ended) = (queue.clone(), stop.clone());
    let work = tokio::spawn(async move {
        for id in 0.. {
            let large = vec![0; if id % 2 == 0 { 0 } else { 100_000 }];
            busy.enqueue(new_call(id, "f"), body(large)).await.unwrap();
            let lease = lease(&busy).await;
            if id % 3 != 0 {
                busy.settle(lease.id, Settle::Finished(None)).await.unwrap();
            }
            if ended.load(SeqCst) {
                return;
            }
        }
    });
    for copy in 0..5 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let to = copies.path().join(copy.to_string());
        let pausing = queue.clone();
        let (from, place) = (folder.path().to_owned(), to.clone());
        let copied = spawn_blocking(move || {
            pausing.paused(&mut || {
                std::fs::create_dir_all(place.join(BODIES)).unwrap();
                std::fs::copy(from.join(FILE), place.join(FILE)).unwrap();
                for entry in std::fs::read_dir(from.join(BODIES)).unwrap() {
                    let path = entry.unwrap().path();
                    std::fs::copy(&path, place.join(BODIES).join(path.file_name().unwrap()))
                        .unwrap();
                }
            });
        });
        copied.await.unwrap();
        let copy = EmbeddedQueue::open(&to, Config::default()).unwrap();
        while copy.figures().depths.iter().any(|row| row.1 == CallState::Waiting) {
            let lease = lease(&copy).await;
            let Work::Run { body, .. } = lease.work else { panic!("it is to be run") };
            body.collect().await.unwrap();
        }
        assert_eq!(depth(&copy, CallState::Dead), 0, "a body is missing in the copy");
    }
    stop.store(true, SeqCst);
    work.await.unwrap();
}

#[tokio::test]
async fn a_queue_that_was_closed_is_anothers_and_writes_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    keep(&queue, 1).await;
    let held = lease(&queue).await;
    queue.close();
    let refused = queue.enqueue(new_call(2, "f"), body("2")).await;
    assert!(refused.is_err(), "{refused:?}");
    let late = queue.settle(held.id, Settle::Finished(None)).await;
    assert!(matches!(late, Err(QueueError::Storage(_))), "{late:?}");
    let other = open(&folder);
    assert_eq!(lease(&other).await.call, CallId(1));
    keep(&other, 3).await;
    drop(other);
    drop(queue);
    let again = open(&folder);
    assert_eq!(depth(&again, CallState::Waiting), 2);
}

#[tokio::test]
async fn a_key_belongs_to_one_caller_and_to_what_becomes_of_the_answer() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    let by = |id, client: &'static str| {
        let mut call = keyed(id, "k");
        call.head.headers.insert("x-dhow-client", client.parse().unwrap());
        call
    };
    for (id, client) in [(1, "key:a"), (2, "jwt:b")] {
        let accepted = queue.enqueue(by(id, client), body("x")).await.unwrap();
        assert_eq!(accepted, Accepted { call: CallId(id), is_repeat: false });
    }
    let again = queue.enqueue(by(3, "jwt:b"), body("x")).await.unwrap();
    assert_eq!(again, Accepted { call: CallId(2), is_repeat: true });
    let callback = Some("https://example.com/".parse().unwrap());
    let other = NewCall { callback, ..by(4, "key:a") };
    assert_eq!(queue.enqueue(other, body("x")).await, Err(EnqueueError::KeyReused));
    let mut other = by(5, "key:a");
    other.head.headers.insert("x-dhow-keep-result", "5m".parse().unwrap());
    assert_eq!(queue.enqueue(other, body("x")).await, Err(EnqueueError::KeyReused));
    // What the function says of all its calls is no part of the request.
    let other = NewCall { keep_result: Duration::from_secs(9), ..by(6, "key:a") };
    assert_eq!(queue.enqueue(other, body("x")).await.unwrap().call, CallId(1));
}

#[tokio::test]
async fn an_answer_of_a_run_before_is_forgotten_when_the_call_is_to_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    let keep_result = Duration::from_secs(60);
    queue.enqueue(NewCall { keep_result, ..new_call(1, "f") }, body("")).await.unwrap();
    let run = lease(&queue).await;
    let large = Answer { body: vec![7; 5000].into(), ..answer("") };
    queue.settle(run.id, Settle::Dead(note(), Some(large))).await.unwrap();
    assert!(queue.answer(CallId(1)).await.unwrap().is_some());
    let counted = queue.figures().bytes;
    queue.retry(CallId(1)).await.unwrap();
    assert_eq!(queue.answer(CallId(1)).await, Ok(None));
    assert!(queue.figures().bytes <= counted - 4000);
}

#[tokio::test]
async fn what_a_wrong_clock_put_off_is_due_within_a_day() {
    const DAY_MS: u64 = 24 * 3600 * 1000;
    let folder = tempfile::tempdir().unwrap();
    let config = Config { waiting: Duration::MAX, ..Config::default() };
    let queue = EmbeddedQueue::open(folder.path(), config).unwrap();
    keep(&queue, 1).await;
    let first = lease(&queue).await;
    let after = Duration::from_secs(10 * 365 * 24 * 3600);
    queue.settle(first.id, Settle::Again { after, note: note(), counted: true }).await.unwrap();
    let now_ms = queue.0.shared.clock.now_ms();
    drop(queue);
    let queue = open(&folder);
    let due_ms = queue.0.shared.ledger.lock().next_due().unwrap();
    assert!((now_ms..now_ms + 2 * DAY_MS).contains(&due_ms), "{due_ms}");
}

#[test]
fn the_clock_follows_the_systems_forward_and_not_back() {
    let clock = Clock { begun_ms: 1000, begun: Instant::now() };
    let ten = Duration::from_millis(10);
    assert_eq!(clock.at(ten, 1010), 1010);
    assert_eq!(clock.at(ten, 500), 1010, "set back");
    assert_eq!(clock.at(ten, 1_000_000), 1_000_000, "set forward");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_a_copy_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    keep(&queue, 1).await;
    let (file, copy) = (folder.path().join(FILE), tempfile::tempdir().unwrap());
    let written = {
        let (queue, copied) = (queue.clone(), copy.path().join(FILE));
        let writes = tokio::spawn({
            let queue = queue.clone();
            async move { keep(&queue, 2).await }
        });
        tokio::task::block_in_place(|| {
            Pause::paused(&queue, &mut || {
                std::fs::copy(&file, &copied).unwrap();
            });
        });
        writes
    };
    written.await.unwrap();
    // What was copied is whole, with or without the call that came meanwhile.
    assert_eq!(lease(&open(&copy)).await.call, CallId(1));
}
