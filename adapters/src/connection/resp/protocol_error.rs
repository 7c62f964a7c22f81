//! Why bytes are no replies; after such an error nothing that follows on the connection can be understood.

/// What a server sent that is no RESP, or more than a limit allows. It quotes single bytes and numbers, never a text.
///
/// `marker` is the first character of the reply in question, which says its type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProtocolError {
    /// The first byte of a reply is none that RESP has.
    #[error("a reply begins with the byte {byte:#04x}, which is no type of RESP")]
    UnknownType {
        /// That byte.
        byte: u8,
    },
    /// The reply is sent in pieces of unknown number, which no server does today.
    #[error("a streamed reply, `{marker}?`, is not supported")]
    Streamed {
        /// Of which type.
        marker: char,
    },
    /// Where a digit belongs, there is another byte.
    #[error("in the number after `{marker}` there is the byte {byte:#04x}, which is no digit")]
    NoDigit {
        /// Of which type.
        marker: char,
        /// That byte: that of the end of the line if there is no digit at all.
        byte: u8,
    },
    /// The number does not fit into 64 bits.
    #[error("the number after `{marker}`, {length} characters long, does not fit into 64 bits")]
    NumberTooLarge {
        /// Of which type.
        marker: char,
        /// Its characters.
        length: usize,
    },
    /// A length below zero, which is not that of a null.
    #[error("the length after `{marker}` is {length}")]
    NegativeLength {
        /// Of which type.
        marker: char,
        /// That length.
        length: i64,
    },
    /// The text of a null, boolean, double or big number is none of that type.
    #[error("the text after `{marker}`, {length} bytes long, is no value of that type")]
    WrongText {
        /// Of which type.
        marker: char,
        /// Its bytes.
        length: usize,
    },
    /// A carriage return that does not end the line.
    #[error("in the line after `{marker}` a CR is followed by the byte {byte:#04x} instead of LF")]
    CrWithoutLf {
        /// Of which type.
        marker: char,
        /// That byte.
        byte: u8,
    },
    /// A line that has no end within the limit.
    #[error("the line after `{marker}` is longer than {limit} bytes")]
    LineTooLong {
        /// Of which type.
        marker: char,
        /// The limit.
        limit: usize,
    },
    /// A string is not followed by CR LF.
    #[error("a string of {length} bytes is followed by the byte {byte:#04x} instead of CR LF")]
    NoEndOfString {
        /// The length that was announced.
        length: usize,
        /// The first byte that is wrong.
        byte: u8,
    },
    /// A verbatim string without the colon after its format.
    #[error("a verbatim string of {length} bytes has no format")]
    NoFormat {
        /// The length that was announced.
        length: usize,
    },
    /// A push that does not begin with a string.
    #[error("a push does not begin with its kind")]
    NoPushKind,
    /// A string that would be larger than a reply may be.
    #[error("a string of {length} bytes is announced after `{marker}`, beyond max_reply_size, {limit} bytes")]
    StringTooLong {
        /// Of which type.
        marker: char,
        /// The length that was announced.
        length: i64,
        /// The limit for the whole reply.
        limit: usize,
    },
    /// More elements than a reply can have.
    #[error("{count} elements are announced after `{marker}`, beyond max_reply_size, {limit} bytes")]
    TooManyElements {
        /// Of which type.
        marker: char,
        /// The number that was announced.
        count: i64,
        /// The limit for the whole reply.
        limit: usize,
    },
    /// Aggregates within aggregates, too many.
    #[error("a reply has more than {limit} levels")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// The bytes of a reply, with what its elements take, are more than the limit.
    #[error("a reply is larger than max_reply_size, {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
}
