//! The arguments of the testbench; it reads no configuration from elsewhere but `REDIS_URL`.

use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: testbench [--port PORT] [--seconds N] [--quiet]

  --port PORT   where the page is served on 127.0.0.1; 0: any free port (default 8086, or TESTBENCH_PORT)
  --seconds N   end after N seconds (default: at ctrl-c or SIGTERM)
  --quiet       no line each second, only the address and the final report
  --help        this text

REDIS_URL names the server; without it, a redis-server from the PATH is started, or a small one inside the process.";

const DEFAULT_PORT: u16 = 8086;

#[derive(Debug)]
pub(crate) struct BenchArguments {
    pub(crate) port: u16,
    pub(crate) run_for: Option<Duration>,
    pub(crate) quiet: bool,
}

impl BenchArguments {
    /// `None`: the usage is asked for.
    ///
    /// # Errors
    ///
    /// What is wrong, for the terminal.
    pub(crate) fn parse(words: impl IntoIterator<Item = String>) -> Result<Option<Self>, String> {
        let port = match std::env::var("TESTBENCH_PORT") {
            Ok(text) => number("TESTBENCH_PORT", &text)?,
            Err(_) => DEFAULT_PORT,
        };
        let mut arguments = Self { port, run_for: None, quiet: false };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (word.as_str(), None),
            };
            let mut value = || attached.clone().or_else(|| words.next()).ok_or_else(|| format!("{name} wants a number"));
            match name {
                "--port" => arguments.port = number(name, &value()?)?,
                "--seconds" => arguments.run_for = Some(Duration::from_secs(number::<u32>(name, &value()?)?.into())),
                "--quiet" | "-q" if attached.is_none() => arguments.quiet = true,
                "--help" | "-h" if attached.is_none() => return Ok(None),
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        if arguments.run_for == Some(Duration::ZERO) {
            return Err("--seconds is 0: must be at least 1".into());
        }
        Ok(Some(arguments))
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error| format!("{name} is {text}: {error}"))
}
