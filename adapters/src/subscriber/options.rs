//! The settings of a subscriber.

use std::ops::RangeInclusive;
use std::time::Duration;

use redis_manager_core::ConfigError;

use crate::setters::setters;

const PING_INTERVAL: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(3_600);
const BUFFER_MESSAGES: RangeInclusive<usize> = 1..=100_000_000;
const BUFFER_BYTES: RangeInclusive<usize> = 1..=(1 << 40);

/// What happens when a reader's buffer is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// The connection is not read until the reader has taken half of its buffer. All readers wait, and so do `subscribe` and
    /// similar calls. The server keeps the messages meanwhile, up to its `client-output-buffer-limit`; beyond that it closes
    /// the connection, which is told as a gap. The default.
    #[default]
    StopReading,
    /// The oldest events are dropped. What is dropped is told as a [`Gap`](crate::pub_sub::Event::Gap) before the next
    /// message.
    DropOldest,
    /// The reader ends with [`SubscriberEnd::Overflow`](crate::pub_sub::SubscriberEnd::Overflow), after what it has in its
    /// buffer. Other readers go on.
    End,
}

/// The settings of a [`Subscriber`](crate::Subscriber); see [`subscriber_with`](crate::RedisManager::subscriber_with).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubscriberOptions {
    /// When nothing was received for so long, the server is sent a PING. If nothing comes within `health_check_timeout` then,
    /// the connection is replaced. 10 ms to 1 h; default 5 s.
    pub ping_interval: Duration,
    /// Events that each reader keeps at most. 1 to 100 000 000; default 10 000.
    pub buffer_messages: usize,
    /// Bytes of channels and payloads that each reader keeps at most, beside one message. 1 to 2^40; default 64 MiB.
    pub buffer_bytes: usize,
    /// What happens when one of the two is reached. Default [`Overflow::StopReading`].
    pub overflow: Overflow,
}

impl Default for SubscriberOptions {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(5),
            buffer_messages: 10_000,
            buffer_bytes: 64 << 20,
            overflow: Overflow::StopReading,
        }
    }
}

impl SubscriberOptions {
    setters! {
        ping_interval: Duration,
        buffer_messages: usize,
        buffer_bytes: usize,
        overflow: Overflow,
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        ConfigError::unless_within("ping_interval", self.ping_interval, &PING_INTERVAL)?;
        for (setting, value, range) in
            [("buffer_messages", self.buffer_messages, BUFFER_MESSAGES), ("buffer_bytes", self.buffer_bytes, BUFFER_BYTES)]
        {
            if !range.contains(&value) {
                let range = format!("{} to {}", range.start(), range.end());
                return Err(ConfigError::OutOfRange { setting, value: value.to_string(), range });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with a check that leaves one of them out.
    #[test]
    fn each_setting_out_of_its_range_is_refused_by_name() {
        let of = SubscriberOptions::default;
        assert_eq!(of().check(), Ok(()));
        for (options, name) in [
            (of().ping_interval(Duration::from_millis(9)), "ping_interval"),
            (of().ping_interval(Duration::from_secs(3_601)), "ping_interval"),
            (of().buffer_messages(0), "buffer_messages"),
            (of().buffer_messages(100_000_001), "buffer_messages"),
            (of().buffer_bytes(0), "buffer_bytes"),
            (of().buffer_bytes((1 << 40) + 1), "buffer_bytes"),
        ] {
            let error = options.check().expect_err(name);
            assert!(matches!(error, ConfigError::OutOfRange { setting, .. } if setting == name), "{error}");
        }
    }
}
