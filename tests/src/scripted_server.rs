//! A server that says what a test wants, and when: for what a real one never does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A server whose connections are served by a function of the test, each in a thread of its own. Ends with the process.
#[derive(Debug)]
pub struct ScriptedServer {
    port: u16,
    accepted: Arc<AtomicUsize>,
}

impl ScriptedServer {
    /// Listens; `serve` has each connection for itself, and closes it when it returns.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub fn start(serve: impl Fn(Conversation) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (accepted, serve) = (Arc::new(AtomicUsize::new(0)), Arc::new(serve));
        let counter = Arc::clone(&accepted);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let number = counter.fetch_add(1, Ordering::SeqCst);
                let serve = Arc::clone(&serve);
                thread::spawn(move || {
                    if let Ok(conversation) = Conversation::new(stream, number) {
                        serve(conversation);
                    }
                });
            }
        });
        Self { port, accepted }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The connections that it has accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

/// One connection of a [`ScriptedServer`].
#[derive(Debug)]
pub struct Conversation {
    /// How many connections there were before this one.
    pub number: usize,
    reader: BufReader<TcpStream>,
}

impl Conversation {
    fn new(stream: TcpStream, number: usize) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { number, reader: BufReader::new(stream) })
    }

    /// The words of the next command; none when the client has gone.
    pub fn hear(&mut self) -> Option<Vec<String>> {
        let count = self.number_after('*')?;
        (0..count).map(|_| self.word()).collect()
    }

    /// Sends `bytes` as they are; false when the client has gone.
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.reader.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Answers as Redis would, to PING and ECHO with their word, to GET with the key; to all else with OK.
    pub fn answer(&mut self, words: &[String]) -> bool {
        let reply = match (words[0].to_uppercase().as_str(), words.get(1)) {
            ("HELLO", _) => String::from("%1\r\n$5\r\nproto\r\n:3\r\n"),
            ("PING" | "ECHO" | "GET", Some(word)) => format!("${}\r\n{word}\r\n", word.len()),
            ("PING", None) => String::from("+PONG\r\n"),
            _ => String::from("+OK\r\n"),
        };
        self.say(reply)
    }

    /// Answers everything up to the first PING, which ends a login; false when the client has gone.
    pub fn log_in(&mut self) -> bool {
        while let Some(words) = self.hear() {
            if !self.answer(&words) {
                return false;
            }
            if words[0].eq_ignore_ascii_case("PING") {
                return true;
            }
        }
        false
    }

    /// Answers everything until the client has gone.
    pub fn serve(mut self) {
        while let Some(words) = self.hear() {
            if !self.answer(&words) {
                break;
            }
        }
    }

    /// Sends `bytes` over and over until the client has gone; returns how many it took.
    pub fn flood(&mut self, bytes: &[u8]) -> usize {
        let bulk = bytes.repeat(65_536 / bytes.len());
        let mut sent = 0;
        while let Ok(some) = self.reader.get_mut().write(&bulk[sent % bytes.len()..]) {
            sent += some;
        }
        sent
    }

    fn number_after(&mut self, kind: char) -> Option<usize> {
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        line.trim_end().strip_prefix(kind)?.parse().ok()
    }

    fn word(&mut self) -> Option<String> {
        let length = self.number_after('$')?;
        let mut bytes = vec![0; length + 2];
        self.reader.read_exact(&mut bytes).ok()?;
        bytes.truncate(length);
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let _ = self.reader.get_ref().shutdown(Shutdown::Both);
    }
}
