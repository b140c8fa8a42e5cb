//! The runner over the embedded queue, with functions that do what they are told.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::plan::egress::EgressRule;
use dhow_core::ports::BoxFuture;
use dhow_core::queue::{CallBody, CallHead, CallState, CallView, NewCall, QueueError, RetryPolicy};
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt as _, Full};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::callback::Times;
use crate::embedded::tests::{Medium, on_medium};
use crate::embedded::{self, EmbeddedQueue};

/// What a function does is its name: a status, `slow`, `panic`, `busy` (it has no place twice),
/// `third` (it fails twice).
#[derive(Default)]
struct Functions {
    calls: Mutex<Vec<(CallId, String)>>,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Functions {
    fn count(&self, call: CallId) -> usize {
        self.calls.lock().iter().filter(|one| one.0 == call).count()
    }
}

impl Dispatch for Functions {
    fn dispatch(
        &self,
        call: CallId,
        function: &FunctionName,
        _: CallHead,
        body: CallBody,
    ) -> BoxFuture<'_, Result<Response<CallBody>, Failure>> {
        let does = function.name.to_string();
        Box::pin(async move {
            let body = body.collect().await?.to_bytes();
            self.calls.lock().push((call, does.clone()));
            let running = self.running.fetch_add(1, Relaxed) + 1;
            self.most.fetch_max(running, Relaxed);
            if does == "slow" {
                sleep(Duration::from_millis(100)).await;
            }
            self.running.fetch_sub(1, Relaxed);
            let status = match does.as_str() {
                "panic" => panic!("it is told to"),
                "forever" => std::future::pending().await,
                "nobody" => {
                    return Err(Failure::new(Reason::NotFound, "there is no such function"));
                }
                "busy" if self.count(call) < 3 => {
                    return Err(Failure::new(Reason::Concurrency, "its places are full"));
                }
                "third" if self.count(call) < 3 => 503,
                status => status.strip_prefix('s').and_then(|s| s.parse().ok()).unwrap_or(200),
            };
            let body: CallBody = Box::pin(Full::new(body).map_err(|never| match never {}));
            Ok(Response::builder().status(status).body(body).expect("a status"))
        })
    }

    fn retry(&self, _: &FunctionName) -> RetryPolicy {
        let short = Duration::from_millis(5);
        RetryPolicy { attempts: 3, min_wait: short, max_wait: short, ..RetryPolicy::default() }
    }
}

struct Rig {
    queue: EmbeddedQueue,
    functions: Arc<Functions>,
    runner: Runner,
    counts: Arc<Counts>,
    _folder: TempDir,
}

impl Rig {
    fn with(places: u32) -> Self {
        let open = |folder: &TempDir| {
            EmbeddedQueue::open(folder.path(), embedded::Config::default()).unwrap()
        };
        Self::on(places, open)
    }

    fn on(places: u32, open: impl FnOnce(&TempDir) -> EmbeddedQueue) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let queue = open(&folder);
        let (functions, counts) = (Arc::new(Functions::default()), Arc::new(Counts::default()));
        let config = Config {
            queues: BTreeMap::new(),
            others: places,
            callbacks: 2,
            threads: 2,
            answer: 1000,
        };
        let second = Duration::from_secs(1);
        let callbacks = Callbacks::new(
            Arc::new(EgressRule::default()),
            Times { connect: second, whole: second },
        );
        let runner = Runner::start(
            config,
            Arc::new(queue.clone()),
            functions.clone(),
            callbacks,
            counts.clone(),
        );
        Self { queue, functions, runner: runner.unwrap(), counts, _folder: folder }
    }

    async fn call(&self, id: u128, function: &str, body: Vec<u8>) {
        let callback = function.starts_with("s201").then(|| "http://127.0.0.1:1/".parse().unwrap());
        let call = NewCall {
            id: CallId(id),
            function: FunctionName::parse(function).unwrap(),
            queue: "default".parse().unwrap(),
            head: CallHead {
                method: Method::POST,
                uri: "/".parse().unwrap(),
                full_uri: "/".parse().unwrap(),
                script_name: String::new(),
                headers: HeaderMap::new(),
                peer: "127.0.0.1:1".parse().unwrap(),
                local: "127.0.0.1:2".parse().unwrap(),
            },
            callback,
            keep_result: Duration::from_secs(600),
            idempotency_key: None,
            most_body: 1 << 20,
        };
        let body: CallBody = Box::pin(Full::new(Bytes::from(body)).map_err(|never| match never {}));
        self.queue.enqueue(call, body).await.unwrap();
    }

    /// Waits until the call is done or dead.
    async fn end_of(&self, id: u128) -> CallView {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let view = self.queue.show(CallId(id)).await.unwrap();
            if matches!(view.state, CallState::Done | CallState::Dead) {
                return view;
            }
            assert!(Instant::now() < until, "{view:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn counted(&self, end: End) -> u64 {
        self.counts.read().filter(|row| (row.0, row.1) == ("run", end)).map(|row| row.2).sum()
    }
}

#[tokio::test]
async fn calls_are_run_and_their_answers_kept() {
    let rig = Rig::with(4);
    rig.call(1, "echo", b"kept".to_vec()).await;
    rig.call(2, "echo", vec![0; 1001]).await;
    rig.call(3, "s404", vec![]).await;
    assert_eq!(rig.end_of(1).await.state, CallState::Done);
    let answer = rig.queue.answer(CallId(1)).await.unwrap().unwrap();
    assert_eq!((answer.body.as_ref(), answer.is_cut), (b"kept".as_ref(), false));
    rig.end_of(2).await;
    let answer = rig.queue.answer(CallId(2)).await.unwrap().unwrap();
    assert_eq!((answer.body.len(), answer.is_cut), (0, true));
    // A guest's own 404 is an answer as any other.
    let view = rig.end_of(3).await;
    assert_eq!((view.state, view.answer.unwrap().as_u16()), (CallState::Done, 404));
    rig.runner.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_is_tried_again_until_it_is_given_up() {
    let rig = Rig::with(4);
    rig.call(1, "third", vec![]).await;
    rig.call(2, "s500", vec![]).await;
    rig.call(3, "nobody", vec![]).await;
    rig.call(4, "busy", vec![]).await;
    assert_eq!(rig.end_of(1).await.state, CallState::Done);
    let dead = rig.end_of(2).await;
    assert_eq!((dead.state, rig.functions.count(CallId(2))), (CallState::Dead, 3));
    assert_eq!(dead.note.unwrap().message, "it answered 500 Internal Server Error");
    assert_eq!(dead.answer.unwrap().as_u16(), 500);
    let dead = rig.end_of(3).await;
    assert_eq!(
        (dead.note.unwrap().reason.as_str(), rig.functions.count(CallId(3))),
        ("not-found", 1)
    );
    assert_eq!(rig.end_of(4).await.state, CallState::Done);
    assert_eq!(
        [End::Finished, End::Again, End::Deferred, End::Dead].map(|end| rig.counted(end)),
        [2, 4, 2, 2]
    );
    rig.runner.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_callback_to_a_closed_address_is_a_dead_letter_of_its_own() {
    let rig = Rig::with(4);
    rig.call(1, "s201", vec![]).await;
    let dead = rig.end_of(1).await;
    assert_eq!(dead.note.unwrap().reason, "callback-refused");
    let view = rig.queue.retry(CallId(1)).await.unwrap();
    assert_eq!(view.state, CallState::Callback);
    rig.end_of(1).await;
    assert_eq!(rig.functions.count(CallId(1)), 1, "the call itself is not run again");
    rig.runner.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn no_more_run_at_once_than_there_are_places_and_no_function_has_them_all() {
    let rig = Rig::with(4);
    for id in 0..20 {
        rig.call(id, "slow", vec![]).await;
    }
    rig.call(20, "other", vec![]).await;
    rig.end_of(20).await;
    assert!(rig.functions.calls.lock().len() < 20, "the last to come is not the last to run");
    for id in 0..20 {
        rig.end_of(id).await;
    }
    let most = rig.functions.most.load(Relaxed);
    assert!((2..=4).contains(&most), "{most}");
    rig.runner.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn at_the_end_work_ends_or_goes_back_and_a_panic_is_one_attempt() {
    let rig = Rig::with(4);
    rig.call(1, "panic", vec![]).await;
    rig.call(2, "forever", vec![]).await;
    rig.call(3, "slow", vec![]).await;
    while rig.functions.calls.lock().len() < 3
        || rig.queue.show(CallId(1)).await.unwrap().state == CallState::Running
    {
        sleep(Duration::from_millis(5)).await;
    }
    let Rig { queue, functions, runner, _folder: folder, .. } = rig;
    runner.stop(Duration::from_millis(500)).await;
    drop(functions);
    drop(queue);
    let queue = EmbeddedQueue::open(folder.path(), embedded::Config::default()).unwrap();
    let view = queue.show(CallId(1)).await.unwrap();
    assert_eq!((view.state, view.attempts), (CallState::Waiting, 1));
    assert_eq!(view.note.unwrap().reason, "internal");
    let view = queue.show(CallId(2)).await.unwrap();
    assert_eq!((view.state, view.attempts), (CallState::Waiting, 0));
    assert_eq!(queue.show(CallId(3)).await.unwrap().state, CallState::Done);
}

#[tokio::test]
async fn a_call_that_is_cancelled_while_it_runs_ends() {
    let rig = Rig::with(1);
    rig.call(1, "forever", vec![]).await;
    rig.call(2, "echo", vec![]).await;
    while rig.functions.count(CallId(1)) == 0 {
        sleep(Duration::from_millis(5)).await;
    }
    rig.queue.cancel(CallId(1)).await.unwrap();
    // Its place is free again.
    rig.end_of(2).await;
    assert_eq!(rig.queue.show(CallId(1)).await, Err(QueueError::NotFound(CallId(1))));
    rig.runner.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_disk_that_is_full_does_not_keep_the_runner_from_ending() {
    let medium = Arc::new(Medium::default());
    let rig = Rig::on(4, |folder| on_medium(folder, &medium));
    rig.call(1, "forever", vec![]).await;
    rig.call(2, "forever", vec![]).await;
    while rig.functions.calls.lock().len() < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    medium.full.store(true, SeqCst);
    let stopped = timeout(Duration::from_secs(60), rig.runner.stop(Duration::from_millis(50)));
    stopped.await.expect("it ends");
    // The calls are as they were: they run again.
    medium.full.store(false, SeqCst);
    drop(rig.queue);
    drop(rig.functions);
    let queue = on_medium(&rig._folder, &medium);
    for id in 1..=2 {
        let view = queue.show(CallId(id)).await.unwrap();
        assert_eq!((view.state, view.attempts), (CallState::Waiting, 0));
    }
}
