//! Tests of the parser as a whole; those of its parts are beside them.

mod bombs;
mod frames;
mod generated;
mod linear;
mod speed;

use redis::Value;

use super::parser::{Parser, ReplyLimits};
use super::protocol_error::ProtocolError;

/// Larger than any reply of these tests.
const WIDE: ReplyLimits = ReplyLimits { max_bytes: 512 * 1_024 * 1_024, max_depth: 100 };

/// All replies in these bytes, given in pieces of this size, and the error that ended them.
fn read_in(bytes: &[u8], size: usize, limits: ReplyLimits) -> (Vec<Value>, Option<ProtocolError>, Parser) {
    let (mut parser, mut replies) = (Parser::new(limits), Vec::new());
    for mut piece in bytes.chunks(size.max(1)) {
        loop {
            match parser.parse(&mut piece) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(error) => return (replies, Some(error), parser),
            }
        }
    }
    (replies, None, parser)
}
