//! The parser: bytes in pieces of any size go in, whole replies come out; it never starts again and is bounded in all that it holds.
//!
//! Invariants, asserted in debug builds:
//!
//! - Q1: between replies nothing is held, and the next reply may take all of `max_bytes`.
//! - Q2: all of the input was taken if no reply is complete.
//! - Q3: no more aggregates are open than levels are allowed.
//! - Q4: an unfinished aggregate lacks a value.
//! - Q5: after an error nothing is held, and every call returns that error.
//! - Q6: the same bytes give the same replies and the same error however they are split.

use std::mem;

use redis::Value;

use super::blob::{self, PartialBlob};
use super::charge::{LEAST_CHARGE, LINE_CHARGE};
use super::frame::{self, UnfinishedAggregate};
use super::line::{LineFault, LoneCr, PartialLine};
use super::number::{number_at_start, number_of_line};
use super::protocol_error::ProtocolError;
use super::quick::quick_value;
use super::reply_type::{AggregateType, BlobType, LineType, NumberType, ReplyType};
use super::scalar::value_of_line;

/// The longest line that is not a text: a number with very many digits.
pub(super) const MAX_HEADER: usize = 64 * 1_024;

/// An aggregate begins with memory for so many values at most; one within it, with half of that, and so on down to 64.
const FIRST_VALUES: usize = 4_096;

/// What a server may send as one reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReplyLimits {
    /// Bytes of it as they are sent, and for every value in it the bytes of a `redis::Value`.
    pub(crate) max_bytes: usize,
    /// Levels: 1 for a reply without elements, 2 for an array of those.
    pub(crate) max_depth: usize,
}

/// Reads replies from bytes as they come. Does no I/O.
#[derive(Debug)]
pub(crate) struct Parser {
    limits: ReplyLimits,
    /// What is left of `max_bytes` for the reply that is being read.
    room: usize,
    /// From the outermost to the innermost.
    open: Vec<UnfinishedAggregate>,
    token: PartialToken,
    line: PartialLine,
    failure: Option<ProtocolError>,
}

/// What was begun and not taken to its end.
#[derive(Debug)]
enum PartialToken {
    Nothing,
    /// The first byte was taken, perhaps more.
    Line(ReplyType),
    Blob(PartialBlob),
}

/// What was found at the start of the input.
enum ParseStep {
    /// Part of a token, and all was taken.
    Incomplete,
    /// The header of an aggregate, which is open now.
    Opened,
    Value(Value),
}

impl Parser {
    /// A parser at the beginning of a connection.
    pub(crate) fn new(limits: ReplyLimits) -> Self {
        Self {
            limits,
            room: limits.max_bytes,
            open: Vec::new(),
            token: PartialToken::Nothing,
            line: PartialLine::default(),
            failure: None,
        }
    }

    /// Takes bytes from the front of `input` until one whole reply is complete, pushes among them. `None`: all was taken, and
    /// more is needed.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes. From then on the same error again.
    pub(crate) fn parse(&mut self, input: &mut &[u8]) -> Result<Option<Value>, ProtocolError> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        if !self.is_within()
            && let Some(value) = quick_value(input, &mut self.limits.max_bytes.clone())
        {
            return Ok(Some(value));
        }
        let parsed = self.advance(input);
        match &parsed {
            Ok(Some(_)) => self.room = self.limits.max_bytes,
            Ok(None) => debug_assert!(input.is_empty(), "Q2: all of the input was taken if no reply is complete"),
            Err(error) => {
                let failure = Some(error.clone());
                *self = Self { failure, ..Self::new(self.limits) };
            }
        }
        self.assert_invariants();
        parsed
    }

    /// Whether a reply has begun and is not complete. Not after an error: there are no replies any more.
    pub(crate) fn is_within(&self) -> bool {
        !self.open.is_empty() || !matches!(self.token, PartialToken::Nothing)
    }

    /// Bytes on the heap for a reply that is not complete, about: those that came of it, its values, and room for more.
    pub(crate) fn held_bytes(&self) -> usize {
        if !self.is_within() {
            return 0;
        }
        let (not_come, blob_spare) = match &self.token {
            PartialToken::Nothing | PartialToken::Line(_) => (0, 0),
            PartialToken::Blob(blob) => (blob.missing(), blob.spare()),
        };
        let open = self.open.capacity() * size_of::<UnfinishedAggregate>();
        let spare: usize = self.open.iter().map(UnfinishedAggregate::spare).sum();
        self.limits.max_bytes - self.room - not_come + blob_spare + self.line.capacity() + open + spare
    }

    fn advance(&mut self, input: &mut &[u8]) -> Result<Option<Value>, ProtocolError> {
        loop {
            let mut value = match self.step(input)? {
                ParseStep::Value(value) => value,
                ParseStep::Opened => continue,
                ParseStep::Incomplete => return Ok(None),
            };
            loop {
                let Some(innermost) = self.open.last_mut() else {
                    return Ok(Some(value));
                };
                if !innermost.add(value)? {
                    break;
                }
                let complete = self.open.pop().expect("it was the last one");
                value = complete.finish();
            }
        }
    }

    #[inline]
    fn step(&mut self, input: &mut &[u8]) -> Result<ParseStep, ProtocolError> {
        match &self.token {
            PartialToken::Nothing => self.begin(input),
            PartialToken::Line(of) => self.step_in_line(*of, input),
            PartialToken::Blob(_) => self.step_in_blob(input),
        }
    }

    #[inline]
    fn begin(&mut self, input: &mut &[u8]) -> Result<ParseStep, ProtocolError> {
        if let Some(innermost) = self.open.last_mut() {
            innermost.fill_quickly(input, &mut self.room);
        }
        if let Some(value) = quick_value(input, &mut self.room) {
            return Ok(ParseStep::Value(value));
        }
        let Some((first, rest)) = input.split_first() else {
            return Ok(ParseStep::Incomplete);
        };
        let of = ReplyType::of(*first).ok_or(ProtocolError::UnknownType { byte: *first })?;
        if let ReplyType::Number(of) = of
            && let Some((number, digits)) = number_at_start(rest)
        {
            *input = &rest[digits + 2..];
            return self.step_after_number(of, number, digits, input);
        }
        *input = rest;
        self.token = PartialToken::Line(of);
        self.step_in_line(of, input)
    }

    fn step_in_line(&mut self, of: ReplyType, input: &mut &[u8]) -> Result<ParseStep, ProtocolError> {
        let (most, lone_cr) = match of {
            ReplyType::Line(LineType::Error) => (self.room, LoneCr::Allowed),
            ReplyType::Line(LineType::SimpleString) => (self.room, LoneCr::Refused),
            ReplyType::Line(_) | ReplyType::Number(_) => (MAX_HEADER, LoneCr::Refused),
        };
        // Beside `self` for as long as its bytes are looked at.
        let mut line = mem::take(&mut self.line);
        let step = match line.take(input, most, lone_cr) {
            Ok(Some(found)) => {
                self.token = PartialToken::Nothing;
                let step = self.step_after_line(of, found, input);
                line.clear();
                step
            }
            Ok(None) => Ok(ParseStep::Incomplete),
            Err(fault) => Err(self.line_error(of, fault)),
        };
        self.line = line;
        step
    }

    fn step_after_line(&mut self, of: ReplyType, line: &[u8], input: &mut &[u8]) -> Result<ParseStep, ProtocolError> {
        match of {
            ReplyType::Line(of) => {
                self.charge(line.len() + LEAST_CHARGE)?;
                value_of_line(of, line).map(ParseStep::Value)
            }
            ReplyType::Number(of) => {
                let number = number_of_line(of, line)?;
                self.step_after_number(of, number, line.len(), input)
            }
        }
    }

    #[cold]
    fn line_error(&self, of: ReplyType, fault: LineFault) -> ProtocolError {
        let marker = of.marker();
        match (fault, of) {
            (LineFault::CrBefore(byte), _) => ProtocolError::CrWithoutLf { marker, byte },
            (LineFault::TooLong, ReplyType::Line(LineType::SimpleString | LineType::Error)) => {
                ProtocolError::TooLarge { limit: self.limits.max_bytes }
            }
            (LineFault::TooLong, _) => ProtocolError::LineTooLong { marker, limit: MAX_HEADER },
        }
    }

    fn step_after_number(
        &mut self,
        of: NumberType,
        number: i64,
        digits: usize,
        input: &mut &[u8],
    ) -> Result<ParseStep, ProtocolError> {
        self.charge(digits + LEAST_CHARGE)?;
        match of {
            NumberType::Int => Ok(ParseStep::Value(Value::Int(number))),
            NumberType::Blob(of) => self.begin_blob(of, number, input),
            NumberType::Aggregate(of) => self.begin_aggregate(of, number, input.len()),
        }
    }

    fn begin_blob(&mut self, of: BlobType, number: i64, input: &mut &[u8]) -> Result<ParseStep, ProtocolError> {
        let marker = NumberType::Blob(of).marker();
        let Ok(length) = usize::try_from(number) else {
            return match (of, number) {
                (BlobType::BulkString, -1) => Ok(ParseStep::Value(Value::Nil)),
                _ if number < 0 => Err(ProtocolError::NegativeLength { marker, length: number }),
                _ => Err(ProtocolError::StringTooLong { marker, length: number, limit: self.limits.max_bytes }),
            };
        };
        if length.checked_add(blob::END_LENGTH).is_none_or(|all| self.charge(all).is_err()) {
            return Err(ProtocolError::StringTooLong { marker, length: number, limit: self.limits.max_bytes });
        }
        self.token = PartialToken::Blob(PartialBlob::new(of, length));
        self.step_in_blob(input)
    }

    fn step_in_blob(&mut self, input: &mut &[u8]) -> Result<ParseStep, ProtocolError> {
        let PartialToken::Blob(blob) = &mut self.token else {
            unreachable!("a blob has begun");
        };
        if !blob.fill(input)? {
            return Ok(ParseStep::Incomplete);
        }
        let PartialToken::Blob(blob) = mem::replace(&mut self.token, PartialToken::Nothing) else {
            unreachable!("it is still the same");
        };
        blob.finish().map(ParseStep::Value)
    }

    fn begin_aggregate(&mut self, of: AggregateType, number: i64, at_hand: usize) -> Result<ParseStep, ProtocolError> {
        let marker = NumberType::Aggregate(of).marker();
        if number < 0 {
            return match (of, number) {
                (AggregateType::Array | AggregateType::Set, -1) => Ok(ParseStep::Value(Value::Nil)),
                (AggregateType::Push, -1) => Ok(ParseStep::Value(frame::empty(of))),
                _ => Err(ProtocolError::NegativeLength { marker, length: number }),
            };
        }
        let values = usize::try_from(number).ok().and_then(|count| frame::values_of(of, count));
        let values = values.filter(|values| values.checked_mul(LEAST_CHARGE).is_some_and(|least| least <= self.room));
        let Some(values) = values else {
            return Err(ProtocolError::TooManyElements { marker, count: number, limit: self.limits.max_bytes });
        };
        if values == 0 {
            return Ok(ParseStep::Value(frame::empty(of)));
        }
        if self.open.len() + 1 >= self.limits.max_depth {
            return Err(ProtocolError::TooDeep { limit: self.limits.max_depth });
        }
        let first = FIRST_VALUES >> self.open.len().min(6);
        self.open.push(UnfinishedAggregate::new(of, values, first.min(at_hand / (LINE_CHARGE + 1))));
        Ok(ParseStep::Opened)
    }

    #[inline]
    fn charge(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.room = self.room.checked_sub(bytes).ok_or(ProtocolError::TooLarge { limit: self.limits.max_bytes })?;
        Ok(())
    }

    /// Bytes of lines that were looked at for their ends.
    #[cfg(test)]
    pub(super) fn scanned(&self) -> usize {
        self.line.scanned
    }

    fn assert_invariants(&self) {
        debug_assert!(
            self.is_within() || (self.room == self.limits.max_bytes && self.held_bytes() == 0),
            "Q1: between replies nothing is held"
        );
        debug_assert!(
            self.open.is_empty() || self.open.len() < self.limits.max_depth,
            "Q3: no more aggregates are open than levels are allowed"
        );
        debug_assert!(
            self.open.last().is_none_or(|innermost| innermost.missing() > 0),
            "Q4: an unfinished aggregate lacks a value"
        );
        debug_assert!(self.failure.is_none() || !self.is_within(), "Q5: after an error nothing is held");
    }
}
