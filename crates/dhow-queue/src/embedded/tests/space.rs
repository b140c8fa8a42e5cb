//! What is kept, and what is on its way, is no more than there is space for.

use super::*;

#[tokio::test]
async fn a_full_budget_refuses_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { space: 40_000, ..Config::default() };
    let queue = EmbeddedQueue::open(folder.path(), config).unwrap();
    let mut kept = 0;
    let refused = loop {
        match queue.enqueue(new_call(kept, "f"), body(vec![0; 1000])).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, EnqueueError::Full(SPACE_USED));
    assert!((5..20).contains(&kept), "{kept}");
    assert!(queue.figures().bytes <= 40_000);
    let first = lease(&queue).await;
    queue.settle(first.id, Settle::Finished(None)).await.unwrap();
    queue.enqueue(new_call(99, "f"), body(vec![0; 1000])).await.unwrap();
    for _ in 0..kept {
        lease(&queue).await;
    }
}

#[tokio::test]
async fn answers_are_kept_as_far_as_there_is_space_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let space = 40_000;
    let queue = EmbeddedQueue::open(folder.path(), Config { space, ..Config::default() }).unwrap();
    let mut kept = 0;
    let keep_result = Duration::from_secs(60);
    let call = |id| NewCall { keep_result, ..new_call(id, "f") };
    while queue.enqueue(call(kept), body("")).await.is_ok() {
        kept += 1;
    }
    assert!(kept > 5, "{kept}");
    let mut headers = HeaderMap::new();
    headers.insert("x-large", "x".repeat(10_000).parse().unwrap());
    let large = Answer { headers, body: vec![7; 100_000].into(), ..answer("") };
    for _ in 0..kept {
        let lease = lease(&queue).await;
        queue.settle(lease.id, Settle::Finished(Some(large.clone()))).await.unwrap();
        assert!(queue.figures().bytes <= space, "{}", queue.figures().bytes);
        let found = queue.answer(lease.call).await.unwrap().unwrap();
        assert_eq!((found.status, found.is_cut, found.body.len()), (large.status, true, 0));
    }
    // What they count for is the same after a restart, and is given back.
    let before = queue.figures().bytes;
    drop(queue);
    let queue = EmbeddedQueue::open(folder.path(), Config { space, ..Config::default() }).unwrap();
    assert_eq!(queue.figures().bytes, before);
    assert_eq!(queue.purge(CallFilter::default()).await, Ok(u64::try_from(kept).unwrap()));
    assert_eq!(queue.figures().bytes, 0);
    queue.enqueue(call(99), body("")).await.unwrap();
    let lease = lease(&queue).await;
    let small = Answer { body: vec![7; 1000].into(), ..answer("") };
    queue.settle(lease.id, Settle::Finished(Some(small.clone()))).await.unwrap();
    assert_eq!(queue.answer(CallId(99)).await, Ok(Some(small)));
}

#[tokio::test]
async fn bodies_on_their_way_count_against_the_space() {
    let folder = tempfile::tempdir().unwrap();
    let space = 1 << 20;
    let queue = EmbeddedQueue::open(folder.path(), Config { space, ..Config::default() }).unwrap();
    // So much comes of each, and then nothing more.
    let begun = || -> CallBody {
        let piece = Ok(http_body::Frame::data(Bytes::from(vec![0; 400_000])));
        let rest = futures_util::stream::pending();
        let frames = futures_util::StreamExt::chain(futures_util::stream::iter([piece]), rest);
        Box::pin(http_body_util::StreamBody::new(frames))
    };
    let mut slow: Vec<_> =
        (1..=2).map(|id| Box::pin(queue.enqueue(new_call(id, "f"), begun()))).collect();
    for slow in &mut slow {
        // Its file is written by another thread.
        while queue.0.shared.reserved.load(SeqCst) == 0 || files(&folder) == 0 {
            assert!(futures_util::poll!(&mut *slow).is_pending());
            tokio::task::yield_now().await;
        }
        assert!(futures_util::poll!(slow).is_pending());
    }
    while queue.0.shared.reserved.load(SeqCst) < 800_000 {
        for slow in &mut slow {
            assert!(futures_util::poll!(slow).is_pending());
        }
    }
    let third = queue.enqueue(new_call(3, "f"), begun()).await;
    assert_eq!(third, Err(EnqueueError::Full(SPACE_USED)));
    // One that says how much it is, is refused before any of it is taken.
    let fourth = queue.enqueue(new_call(4, "f"), body(vec![0; 400_000])).await;
    assert_eq!(fourth, Err(EnqueueError::Full(SPACE_USED)));
    keep(&queue, 5).await;
    drop(slow);
    assert_eq!(queue.0.shared.reserved.load(SeqCst), 0);
    queue.enqueue(new_call(6, "f"), body(vec![0; 400_000])).await.unwrap();
}

#[tokio::test]
async fn too_many_bodies_at_once_are_refused_for_now() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { memory: 100 << 10, ..Config::default() };
    let queue = EmbeddedQueue::open(folder.path(), config).unwrap();
    let endless = || -> CallBody {
        Box::pin(http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, dhow_core::outcome::Failure>,
        >()))
    };
    let mut first = queue.enqueue(new_call(1, "f"), endless());
    assert!(futures_util::poll!(&mut first).is_pending());
    let second = queue.enqueue(new_call(2, "f"), endless()).await;
    assert_eq!(second, Err(EnqueueError::Busy));
    keep(&queue, 3).await;
    drop(first);
    let mut third = queue.enqueue(new_call(4, "f"), endless());
    assert!(futures_util::poll!(&mut third).is_pending());
}
