//! What replies tell about the node, whatever they tell the borrower.

use redis::{RedisError, RedisResult, ServerError, Value};

/// What a reply says of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum News {
    AllWell,
    /// An error that is the command's own.
    Refused,
    /// The node cannot serve anybody now, in its own words.
    NotReady(String),
    /// The node is not the primary that is wanted, in its own words.
    Replica(String),
}

impl News {
    pub(crate) fn of<T: Answer>(result: &RedisResult<T>) -> Self {
        match result {
            Ok(answer) => answer.values().iter().fold(Self::AllWell, |news, value| news.or(Self::of_value(value))),
            Err(error) => Self::of_error(error),
        }
    }

    fn of_value(value: &Value) -> Self {
        if let Value::ServerError(error) = value { Self::of_server_error(error) } else { Self::AllWell }
    }

    /// A transaction that was refused carries the errors of its commands.
    fn of_error(error: &RedisError) -> Self {
        let refused = error.clone().into_server_errors();
        let errors = refused.iter().flat_map(|errors| errors.iter());
        errors.fold(Self::Refused, |news, (_, error)| news.or(Self::of_server_error(error)))
    }

    fn of_server_error(error: &ServerError) -> Self {
        let words = || error.to_string();
        // An EXEC that is refused itself names the error behind it.
        let cause = error.details().and_then(|details| details.split_once(" because of: "));
        let code = match cause.and_then(|(_, cause)| cause.split(' ').next()) {
            Some(code @ ("LOADING" | "MASTERDOWN" | "NOAUTH" | "READONLY")) if error.code() == "EXECABORT" => code,
            Some(_) | None => error.code(),
        };
        match code {
            // The end of a transaction all the same.
            "EXECABORT" => Self::AllWell,
            "LOADING" | "MASTERDOWN" | "NOAUTH" => Self::NotReady(words()),
            "READONLY" => Self::Replica(words()),
            _ => Self::Refused,
        }
    }

    /// The worse of two.
    fn or(self, next: Self) -> Self {
        match (&self, &next) {
            (Self::AllWell, _) | (Self::Refused, Self::NotReady(_) | Self::Replica(_)) => next,
            (Self::Refused | Self::NotReady(_) | Self::Replica(_), _) => self,
        }
    }
}

/// A reply, or several.
pub(crate) trait Answer {
    fn values(&self) -> &[Value];
}

impl Answer for Value {
    fn values(&self) -> &[Value] {
        std::slice::from_ref(self)
    }
}

impl Answer for Vec<Value> {
    fn values(&self) -> &[Value] {
        self
    }
}

impl Answer for () {
    fn values(&self) -> &[Value] {
        &[]
    }
}
