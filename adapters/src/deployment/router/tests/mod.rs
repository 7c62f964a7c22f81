//! The router against what is written here, against a model, and against a real server.

mod gatherings;
mod key_places;
mod model;
mod real_server;
mod routes;

use redis::{Cmd, Value};

/// A command by its words; `""` is an empty one.
fn cmd(line: &str) -> Cmd {
    let mut cmd = Cmd::new();
    for word in line.split_ascii_whitespace() {
        cmd.arg(if word == "\"\"" { "" } else { word });
    }
    cmd
}

/// The words of a command with blanks between them.
fn line(cmd: &Cmd) -> String {
    let words: Vec<_> =
        cmd.args_iter().map(|arg| crate::deployment::router::key_spec::text_of(arg).expect("no cursor")).collect();
    String::from_utf8_lossy(&words.join(&b' ')).into_owned()
}

fn text(text: &str) -> Value {
    Value::BulkString(text.as_bytes().to_vec())
}

fn error(line: &str) -> Value {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).expect("an error")
}

/// An error as its server has written it.
fn words_of(reply: &Value) -> String {
    let Value::ServerError(error) = reply else { panic!("no error: {reply:?}") };
    format!("{} {}", error.code(), error.details().unwrap_or_default())
}
