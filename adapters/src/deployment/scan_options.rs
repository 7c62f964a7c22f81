//! What a scan looks for.

use redis::Cmd;

/// Which keys a scan returns, and how many are asked for at once. The default is all keys.
///
/// ```
/// use redis_manager::ScanOptions;
///
/// let options = ScanOptions::default().pattern("session:*").count(1_000);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "options do nothing until a scan has them"]
pub struct ScanOptions {
    pattern: Option<Vec<u8>>,
    count: Option<usize>,
    of_type: Option<String>,
}

impl ScanOptions {
    /// Only keys that match this glob pattern. Default all.
    pub fn pattern(mut self, pattern: impl AsRef<[u8]>) -> Self {
        self.pattern = Some(pattern.as_ref().to_vec());
        self
    }

    /// About how many keys the server looks at for one reply. Count, default the server's (10), at least 1.
    pub fn count(mut self, count: usize) -> Self {
        self.count = Some(count.max(1));
        self
    }

    /// Only keys of this type: `string`, `list`, `set`, `zset`, `hash`, `stream`. Default all. Redis 6.0 or later.
    pub fn of_type(mut self, of_type: &str) -> Self {
        self.of_type = Some(String::from(of_type));
        self
    }

    /// The next command of a scan.
    pub(crate) fn command(&self, cursor: u64) -> Cmd {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(cursor);
        if let Some(pattern) = &self.pattern {
            cmd.arg("MATCH").arg(pattern.as_slice());
        }
        if let Some(count) = self.count {
            cmd.arg("COUNT").arg(count);
        }
        if let Some(of_type) = &self.of_type {
            cmd.arg("TYPE").arg(of_type.as_str());
        }
        cmd
    }
}
