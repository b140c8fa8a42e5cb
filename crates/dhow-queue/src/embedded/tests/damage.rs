//! What can't be read: a body, for a while or for ever; the file itself.

use super::*;

/// The answer that is to be delivered.
async fn told(queue: &EmbeddedQueue) -> (LeaseId, Answer) {
    let lease = lease(queue).await;
    let Work::CallBack { answer, .. } = lease.work else { panic!("a callback") };
    (lease.id, *answer)
}

#[tokio::test]
async fn a_body_that_was_lost_makes_a_dead_letter_and_harms_no_other_call() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    queue.enqueue(new_call(1, "f"), body(vec![0; 100_000])).await.unwrap();
    keep(&queue, 2).await;
    std::fs::remove_file(body::path_of(&folder.path().join(BODIES), CallId(1))).unwrap();
    assert_eq!(lease(&queue).await.call, CallId(2));
    let view = queue.show(CallId(1)).await.unwrap();
    assert_eq!((view.state, view.note.unwrap().reason.as_str()), (CallState::Dead, "damaged"));
}

#[tokio::test]
async fn a_body_that_can_not_be_read_now_is_read_later() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    queue.enqueue(new_call(1, "f"), body(vec![7; 100_000])).await.unwrap();
    keep(&queue, 2).await;
    let place = body::path_of(&folder.path().join(BODIES), CallId(1));
    let aside = folder.path().join("aside");
    std::fs::rename(&place, &aside).unwrap();
    // One that leads to itself can't be opened, which is no reason to give a call up.
    std::os::unix::fs::symlink(&place, &place).unwrap();
    assert_eq!(lease(&queue).await.call, CallId(2));
    let view = queue.show(CallId(1)).await.unwrap();
    assert_eq!((view.state, view.note), (CallState::Waiting, None));
    std::fs::rename(&aside, &place).unwrap();
    let late = lease(&queue).await;
    assert_eq!(late.call, CallId(1));
    let Work::Run { body, .. } = late.work else { panic!("it is to be run") };
    assert_eq!(body.collect().await.unwrap().to_bytes(), vec![7; 100_000]);
}

#[tokio::test]
async fn who_waits_for_a_callback_is_told_of_a_call_that_the_queue_gives_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut queue = open(&folder);
    let callback = || Some("https://example.com/".parse().unwrap());
    let call = NewCall { callback: callback(), ..new_call(1, "f") };
    queue.enqueue(call, body(vec![0; 100_000])).await.unwrap();
    std::fs::remove_file(body::path_of(&folder.path().join(BODIES), CallId(1))).unwrap();
    let (delivery, answer) = told(&queue).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.headers["x-dhow-reason"], "damaged");
    assert!(String::from_utf8_lossy(&answer.body).contains(&CallId(1).to_string()));
    queue.settle(delivery, Settle::Finished(None)).await.unwrap();
    let view = queue.show(CallId(1)).await.unwrap();
    assert_eq!((view.state, view.note.unwrap().reason.as_str()), (CallState::Dead, "damaged"));

    let call = NewCall { callback: callback(), ..new_call(2, "f") };
    queue.enqueue(call, body("")).await.unwrap();
    for _ in 0..INTERRUPTIONS {
        assert_eq!(lease(&queue).await.call, CallId(2));
        drop(queue);
        queue = open(&folder);
    }
    let (delivery, answer) = told(&queue).await;
    assert_eq!(answer.headers["x-dhow-reason"], "interrupted");
    queue.settle(delivery, Settle::Finished(None)).await.unwrap();
    assert_eq!(queue.show(CallId(2)).await.unwrap().state, CallState::Dead);
    // What it is told is of this run, not of one before.
    queue.retry(CallId(2)).await.unwrap();
    let run = lease(&queue).await;
    queue.settle(run.id, Settle::Finished(Some(super::answer("done")))).await.unwrap();
    assert_eq!(told(&queue).await.1, super::answer("done"));
}

#[tokio::test]
async fn a_file_that_was_damaged_is_refused_and_never_a_panic() {
    let folder = tempfile::tempdir().unwrap();
    let queue = open(&folder);
    for id in 0..50 {
        queue.enqueue(new_call(id, "f"), body(vec![b'x'; 3000])).await.unwrap();
    }
    drop(queue);
    let whole = std::fs::read(folder.path().join(FILE)).unwrap();
    let mut rng = fastrand::Rng::with_seed(5);
    let (mut refused, mut checked) = (0, 0);
    for _ in 0..40 {
        let mut bytes = whole.clone();
        // Past the head of the file, which redb keeps twice.
        let at = rng.usize(4096..bytes.len() - 512);
        bytes[at..at + 512].fill(rng.u8(..));
        let damaged = tempfile::tempdir().unwrap();
        let file = damaged.path().join(FILE);
        std::fs::write(&file, &bytes).unwrap();
        checked += usize::from(check(&file, Path::new(FILE)).is_err());
        std::fs::write(&file, &bytes).unwrap();
        match EmbeddedQueue::open(damaged.path(), Config::default()) {
            // It was where nothing is kept.
            Ok(queue) => assert_eq!(depth(&queue, CallState::Waiting), 50),
            Err(OpenError::Damaged { .. }) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(refused > 5, "only {refused} were noticed");
    assert_eq!(checked, refused, "a backup would take what a start refuses");
    let copy = folder.path().join("copy.redb");
    std::fs::write(&copy, &whole).unwrap();
    check(&copy, Path::new(FILE)).unwrap();
}

#[test]
fn a_file_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(FILE), vec![b'x'; 5000]).unwrap();
    let error = EmbeddedQueue::open(folder.path(), Config::default()).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    let error = EmbeddedQueue::open(&folder.path().join("nowhere"), Config::default());
    assert!(matches!(error.err(), Some(OpenError::Unusable { .. })));
}
