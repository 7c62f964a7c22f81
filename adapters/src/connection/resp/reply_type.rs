//! The types of RESP, by what follows the first byte: a line that is the value, or a number that announces it.

/// What the first byte of a reply says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplyType {
    /// The line is the value.
    Line(LineType),
    /// The line is a number.
    Number(NumberType),
}

/// The types whose value is a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineType {
    SimpleString,
    Error,
    Null,
    Double,
    Boolean,
    BigNumber,
}

/// The types that begin with a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NumberType {
    /// The number is the value.
    Int,
    /// It is the length in bytes.
    Blob(BlobType),
    /// It is how many elements follow, or pairs.
    Aggregate(AggregateType),
}

/// The types that are bytes of a known number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlobType {
    BulkString,
    Error,
    Verbatim,
}

/// The types that have elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AggregateType {
    Array,
    Set,
    Map,
    Attribute,
    Push,
}

impl ReplyType {
    /// The type with this first byte, if there is one.
    pub(super) fn of(byte: u8) -> Option<Self> {
        let found = match byte {
            b'$' => Self::Number(NumberType::Blob(BlobType::BulkString)),
            b':' => Self::Number(NumberType::Int),
            b'*' => Self::Number(NumberType::Aggregate(AggregateType::Array)),
            b'+' => Self::Line(LineType::SimpleString),
            b'-' => Self::Line(LineType::Error),
            b'_' => Self::Line(LineType::Null),
            b',' => Self::Line(LineType::Double),
            b'#' => Self::Line(LineType::Boolean),
            b'(' => Self::Line(LineType::BigNumber),
            b'!' => Self::Number(NumberType::Blob(BlobType::Error)),
            b'=' => Self::Number(NumberType::Blob(BlobType::Verbatim)),
            b'~' => Self::Number(NumberType::Aggregate(AggregateType::Set)),
            b'%' => Self::Number(NumberType::Aggregate(AggregateType::Map)),
            b'|' => Self::Number(NumberType::Aggregate(AggregateType::Attribute)),
            b'>' => Self::Number(NumberType::Aggregate(AggregateType::Push)),
            _ => return None,
        };
        Some(found)
    }

    /// The first byte of its replies.
    pub(super) fn marker(self) -> char {
        match self {
            Self::Line(line) => line.marker(),
            Self::Number(number) => number.marker(),
        }
    }
}

impl LineType {
    pub(super) fn marker(self) -> char {
        match self {
            Self::SimpleString => '+',
            Self::Error => '-',
            Self::Null => '_',
            Self::Double => ',',
            Self::Boolean => '#',
            Self::BigNumber => '(',
        }
    }
}

impl NumberType {
    pub(super) fn marker(self) -> char {
        match self {
            Self::Int => ':',
            Self::Blob(BlobType::BulkString) => '$',
            Self::Blob(BlobType::Error) => '!',
            Self::Blob(BlobType::Verbatim) => '=',
            Self::Aggregate(AggregateType::Array) => '*',
            Self::Aggregate(AggregateType::Set) => '~',
            Self::Aggregate(AggregateType::Map) => '%',
            Self::Aggregate(AggregateType::Attribute) => '|',
            Self::Aggregate(AggregateType::Push) => '>',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_byte_of_its_own() {
        let found = (0..=u8::MAX).filter_map(|byte| ReplyType::of(byte).map(|of| (char::from(byte), of)));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), 15);
        assert!(found.iter().all(|(byte, of)| of.marker() == *byte), "{found:?}");
    }
}
