//! Requests whose number of replies is not what was promised.

use redis_manager::redis::{self, Pipeline, RedisResult, Value, aio::ConnectionLike};
use redis_manager::{RedisErrorExt, Sent};

use crate::story::{SEEDS, Story};

fn echoes(first: usize, count: usize, is_atomic: bool) -> Pipeline {
    let mut pipeline = redis::pipe();
    if is_atomic {
        pipeline.atomic();
    }
    for token in first..first + count {
        pipeline.cmd("ECHO").arg(token);
    }
    pipeline
}

/// Every offset and count but those that are right.
fn miscounts(pipeline: &Pipeline) -> Vec<(usize, usize)> {
    let length = pipeline.len();
    let right = if pipeline.is_transaction() { (length + 1, 1) } else { (0, length) };
    let all = (0..=length + 2).flat_map(|offset| (0..=length + 2).map(move |count| (offset, count)));
    all.chain([(0, usize::MAX), (usize::MAX, 1), (usize::MAX, usize::MAX)]).filter(|asked| *asked != right).collect()
}

fn assert_refused(result: &RedisResult<Vec<Value>>, why: &str) {
    let error = result.as_ref().expect_err(why);
    assert_eq!(error.was_sent(), Sent::NotSent, "{why}: {error}");
}

/// Guards against: a miscounted pipeline that takes the reply of the next caller and leaves all others out of step (23 474 of 24 000
/// replies were wrong).
#[test]
fn l10_a_miscounted_pipeline_is_refused_and_others_keep_their_replies() {
    for seed in SEEDS {
        let story = Story::begin(seed);
        let (mut shared, mut exclusive) = (story.shared_client(), story.client());
        let mut neighbours = Vec::new();
        for number in 0..4_usize {
            let mut neighbour = shared.clone();
            neighbours.push(story.spawn(async move {
                for round in 0..200 {
                    let token = number * 1_000 + round;
                    let echo: usize = redis::cmd("ECHO").arg(token).query_async(&mut neighbour).await.expect("it answers");
                    assert_eq!(echo, token);
                }
            }));
        }
        let mut refused = 0;
        for (length, is_atomic) in [(1, false), (3, false), (3, true), (1, true)] {
            let pipeline = echoes(7_000, length, is_atomic);
            for (offset, count) in miscounts(&pipeline) {
                let why = format!("seed {seed}: {offset} and {count} of {length}, atomic: {is_atomic}");
                assert_refused(&story.runtime.block_on(shared.req_packed_commands(&pipeline, offset, count)), &why);
                assert_refused(&story.runtime.block_on(exclusive.req_packed_commands(&pipeline, offset, count)), &why);
                let echo: usize = story.ask(&mut exclusive, &format!("ECHO {refused}")).expect("it answers");
                assert_eq!(echo, refused, "{why}");
                refused += 1;
            }
        }
        let sent_by_us =
            story.redis.journal().iter().filter(|seen| seen.command.last().is_some_and(|word| word == b"7000")).count();
        assert_eq!(sent_by_us, 0, "seed {seed}: what is refused is not sent");
        story.runtime.advance(crate::story::SECOND);
        assert!(neighbours.iter().all(|neighbour| neighbour.take().is_some()), "seed {seed}: each got its own replies");
        drop((shared, exclusive));
        story.assert_full_capacity(2);
    }
}

/// Guards against: a command with no reply, or with several, sent where exactly one is waited for.
#[test]
fn l10_a_request_with_another_number_of_replies_than_one_is_refused() {
    let story = Story::begin(3);
    let (mut shared, mut exclusive) = (story.shared_client(), story.client());
    let mut without_reply = redis::cmd("SET");
    without_reply.arg("key").arg("value").set_no_response(true);
    let with = |cmd: redis::Cmd| {
        let mut pipeline = echoes(1, 1, false);
        pipeline.add_command(cmd).cmd("ECHO").arg(2);
        pipeline
    };
    let subscription = |channels: &str| crate::story::command(&format!("SUBSCRIBE {channels}"));
    let pipelines =
        [with(without_reply.clone()), with(subscription("one")), with(crate::story::command("MONITOR")), redis::pipe()];
    for (number, pipeline) in pipelines.iter().enumerate() {
        let why = format!("pipeline {number}");
        assert_refused(&story.runtime.block_on(shared.req_packed_commands(pipeline, 0, pipeline.len())), &why);
        assert_refused(&story.runtime.block_on(exclusive.req_packed_commands(pipeline, 0, pipeline.len())), &why);
    }
    for cmd in [subscription("one two"), redis::Cmd::new()] {
        for result in
            [story.runtime.block_on(shared.req_packed_command(&cmd)), story.runtime.block_on(exclusive.req_packed_command(&cmd))]
        {
            assert_eq!(result.expect_err("refused").was_sent(), Sent::NotSent);
        }
    }
    let echo: usize = story.ask(&mut shared, "ECHO 3").expect("it answers");
    let other: usize = story.ask(&mut exclusive, "ECHO 4").expect("it answers");
    assert_eq!((echo, other), (3, 4), "in step");
}
