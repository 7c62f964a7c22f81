//! The part of a node's URL after its host or path: the database, and the parameters of the query. Unknown parts are rejected
//! by name.

use redis::{ProtocolVersion, RedisConnectionInfo};

/// The parameters of a query; `None` for those that it does not contain.
#[derive(Default)]
pub(crate) struct Parameters {
    pub(crate) database: Option<i64>,
    protocol: Option<ProtocolVersion>,
    user: Option<String>,
    password: Option<String>,
}

impl Parameters {
    /// The parameters of a unix socket include the login; those of a host do not.
    ///
    /// # Errors
    ///
    /// Names the wrong parameter and the reason. No value is quoted.
    pub(crate) fn read(query: &str, is_unix: bool) -> Result<Self, String> {
        let known: &[&str] = if is_unix { &["db", "protocol", "user", "pass"] } else { &["db", "protocol"] };
        let mut parameters = Self::default();
        let mut seen: Vec<String> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode_percent(key).filter(|key| known.contains(&key.as_str())).ok_or_else(|| {
                if seen.iter().any(|key| key == "pass") {
                    return String::from("the text after its password is no parameter; an & in a password is %26");
                }
                format!("{} is not a parameter of such a URL; valid are {}", name_of(key), known.join(", "))
            })?;
            if seen.contains(&key) {
                return Err(format!("the parameter {key} is given twice"));
            }
            let value = decode_percent(value).ok_or_else(|| format!("the parameter {key} is not UTF-8"))?;
            match key.as_str() {
                "db" => parameters.database = Some(database(&value).ok_or("the parameter db is not a number of a database")?),
                "protocol" => {
                    parameters.protocol = Some(protocol(&value).ok_or("the parameter protocol must be resp2 or resp3")?)
                }
                "user" => parameters.user = Some(value).filter(|user| !user.is_empty()),
                _ => parameters.password = Some(value).filter(|password| !password.is_empty()),
            }
            seen.push(key);
        }
        Ok(parameters)
    }

    /// Whether they require RESP3.
    pub(crate) fn demands_resp3(&self) -> bool {
        self.protocol == Some(ProtocolVersion::RESP3)
    }

    /// The login of the URL, completed by the parameters. `home` is the database of the path; `protocol` is the default.
    pub(crate) fn over(
        self,
        mut login: RedisConnectionInfo,
        home: Option<i64>,
        protocol: ProtocolVersion,
    ) -> RedisConnectionInfo {
        if let Some(user) = self.user {
            login = login.set_username(user);
        }
        if let Some(password) = self.password {
            login = login.set_password(password);
        }
        if login.username().is_some() && login.password().is_none() {
            // Without a password the redis crate would not log in at all, and the user would be another one.
            login = login.set_password("");
        }
        login.set_db(home.or(self.database).unwrap_or(0)).set_protocol(self.protocol.unwrap_or(protocol))
    }
}

/// The database in a path, if there is one.
///
/// # Errors
///
/// The reason why the path is invalid.
pub(crate) fn database_of_path(path: &str) -> Result<Option<i64>, String> {
    let named = path.strip_prefix('/').unwrap_or(path);
    let named = named.strip_suffix('/').unwrap_or(named);
    match database(named) {
        _ if named.is_empty() => Ok(None),
        Some(database) => Ok(Some(database)),
        None if named.contains('/') => Err(format!("the path {named:?} contains more than the number of a database")),
        None => Err(format!("the database {named:?} is not a number")),
    }
}

/// Digits only, without a sign.
fn database(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn protocol(text: &str) -> Option<ProtocolVersion> {
    match text {
        "2" | "resp2" => Some(ProtocolVersion::RESP2),
        "3" | "resp3" => Some(ProtocolVersion::RESP3),
        _ => None,
    }
}

/// The name of an unknown parameter, if it looks like a name.
fn name_of(key: &str) -> String {
    let is_name = key.len() <= 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.%".contains(&byte));
    if is_name { format!("{key:?}") } else { String::from("one of its parameters") }
}

/// Decodes `%XX`; all other characters, also `+`, stay as they are. `None` if the result is not UTF-8.
pub(crate) fn decode_percent(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match bytes.get(at + 1..at + 3).and_then(hex_byte) {
            Some(number) if *byte == b'%' => {
                decoded.push(number);
                at += 3;
            }
            Some(_) | None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

/// The value of up to two hexadecimal digits.
pub(crate) fn hex_byte(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}
