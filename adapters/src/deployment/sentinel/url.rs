//! URLs of a primary behind sentinels: parsed into settings. Checks the form alone.

use redis::ProtocolVersion;

use crate::deployment::sentinel::args::SentinelArgs;
use crate::redis_node::parts::decode_percent;

const EXPECTED: &str = "expected redis+sentinel://[user[:password]@]host[:port][,host[:port]…]/name[/db] (or valkey+sentinel://; \
                        rediss+sentinel:// or valkeys+sentinel:// for TLS)";
const PARAMETERS: [&str; 5] = ["sentinel_username", "sentinel_password", "sentinel_tls", "protocol", "db"];

/// The scheme of such a URL without its `+sentinel`, and the rest behind `://`.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let head = scheme.len().checked_sub("+sentinel".len())?;
    let is_one = scheme.is_char_boundary(head) && scheme[head..].eq_ignore_ascii_case("+sentinel");
    is_one.then_some((&scheme[..head], rest))
}

/// Whether a URL is of a primary behind sentinels, valid or not.
pub(crate) fn is_sentinel_url(url: &str) -> bool {
    split_scheme(url).is_some()
}

/// Reads `redis+sentinel://[user[:password]@]s1:26379,s2:26379/name[/db][?parameters]` and its kin.
///
/// # Errors
///
/// Names the part that is not understood. No value is quoted that may be secret.
pub(crate) fn read_url(url: &str) -> Result<SentinelArgs, String> {
    let (scheme, rest) = split_scheme(url).ok_or(EXPECTED)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(String::from(EXPECTED)),
    };
    if rest.contains(['\t', '\n', '\r']) {
        return Err(String::from("it contains a tab or a line end"));
    }
    if rest.ends_with("#insecure") {
        return Err(String::from(
            "#insecure is for a single server: all certificates are checked here; give their CA in pool_args.tls.ca_certificates",
        ));
    }
    if rest.contains('#') {
        return Err(String::from("nothing may follow a #; a # in a password is %23"));
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').ok_or("the name of the primary is missing: /name follows the sentinels")?;
    if path.contains('@') || query.contains('@') {
        return Err(String::from("there is an @ after the sentinels; /, ?, # and @ in a password are %2F, %3F, %23 and %40"));
    }
    let (login, sentinels) = match authority.rsplit_once('@') {
        Some((login, sentinels)) => (Some(login), sentinels),
        None => (None, authority),
    };
    let (name, database) = match path.trim_end_matches('/').split_once('/') {
        Some((name, database)) => (name, Some(number(database).ok_or("the database is not a number")?)),
        None => (path.trim_end_matches('/'), None),
    };
    let name = decode_percent(name).filter(|name| !name.is_empty());
    let name = name.ok_or("the name of the primary is missing: /name follows the sentinels")?;
    let mut args = SentinelArgs::new(name, sentinels.split(','));
    args.tls = tls;
    args.sentinel_tls = tls;
    if let Some(login) = login {
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let decode = |text: &str| decode_percent(text).ok_or("the login is not UTF-8");
        args.username = Some(decode(user)?).filter(|user| !user.is_empty());
        // A user without a password has an empty one.
        args.password = Some(decode(password)?).filter(|password| !password.is_empty() || args.username.is_some());
    }
    let home = read_query(query, &mut args)?;
    if home.zip(database).is_some_and(|(one, other)| one != other) {
        return Err(String::from("its path and its db parameter name different databases"));
    }
    args.database = database.or(home).unwrap_or(0);
    Ok(args)
}

/// The parameters; returns the database.
fn read_query(query: &str, args: &mut SentinelArgs) -> Result<Option<u32>, String> {
    let mut database = None;
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let Some(key) = PARAMETERS.into_iter().find(|known| *known == key) else {
            // It may be the rest of a password.
            return Err(format!("one of its parameters is none; valid are {}", PARAMETERS.join(", ")));
        };
        if seen.contains(&key) {
            return Err(format!("the parameter {key} is given twice"));
        }
        seen.push(key);
        let value = decode_percent(value).ok_or_else(|| format!("the parameter {key} is not UTF-8"))?;
        match key {
            "sentinel_username" => args.sentinel_username = Some(value).filter(|user| !user.is_empty()),
            "sentinel_password" => args.sentinel_password = Some(value).filter(|password| !password.is_empty()),
            "sentinel_tls" => {
                args.sentinel_tls = value.parse().map_err(|_| "the parameter sentinel_tls must be true or false")?
            }
            "protocol" => {
                args.protocol = Some(match value.as_str() {
                    "2" | "resp2" => ProtocolVersion::RESP2,
                    "3" | "resp3" => ProtocolVersion::RESP3,
                    _ => return Err(String::from("the parameter protocol must be resp2 or resp3")),
                });
            }
            _ => database = Some(number(&value).ok_or("the parameter db is not a number of a database")?),
        }
    }
    Ok(database)
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen to bite: with the credentials of the data nodes given to the sentinels, with `sentinel_tls` passed over.
    #[test]
    fn what_is_understood_of_a_sentinel_url_is_what_it_says() {
        let args = read_url(
            "rediss+sentinel://u:p%40ss@s1:1,[::1]:2,s3/my%20primary/7?sentinel_username=su&sentinel_password=sp%26&sentinel_tls=false&protocol=resp2",
        );
        let mut expected = SentinelArgs::new("my primary", ["s1:1", "[::1]:2", "s3"]).tls(true).sentinel_tls(false).database(7);
        expected.username = Some(String::from("u"));
        expected.password = Some(String::from("p@ss"));
        expected.sentinel_username = Some(String::from("su"));
        expected.sentinel_password = Some(String::from("sp&"));
        expected.protocol = Some(ProtocolVersion::RESP2);
        assert_eq!(args, Ok(expected));
        let plain = read_url("valkey+sentinel://s1/m").expect("valid");
        assert_eq!(plain, SentinelArgs::new("m", ["s1"]));
        assert_eq!(
            read_url("redis+sentinel://:p@s1/m/?db=3").map(|args| (args.password, args.database)),
            Ok((Some(String::from("p")), 3))
        );
        assert_eq!(read_url("redis+sentinel://u@s1/m").map(|args| args.password), Ok(Some(String::new())), "a user has one");
        assert!(
            is_sentinel_url(" REDIS+SENTINEL://x")
                && !is_sentinel_url("redis://x+sentinel://y")
                && !is_sentinel_url("sentinel://x")
        );
    }

    /// Seen to bite: with each of the checks left out.
    #[test]
    fn what_is_not_understood_of_a_sentinel_url_is_refused_without_its_secrets() {
        for (url, words) in [
            ("redis+sentinel://:hush@s1", "the name of the primary is missing"),
            ("redis+sentinel://:hush@s1/", "the name of the primary is missing"),
            ("redis+sentinel://:hush@s1/m/x", "the database is not a number"),
            ("redis+sentinel://:hush@s1/m/1?db=2", "different databases"),
            ("redis+sentinel://:hush@s1/m?db=1&db=1", "the parameter db is given twice"),
            ("redis+sentinel://:hush@s1/m?db=+1", "the parameter db is not a number"),
            ("redis+sentinel://s1/m?sentinel_password=a&hush", "one of its parameters is none"),
            ("redis+sentinel://s1/m?password=hush", "one of its parameters is none"),
            ("redis+sentinel://s1/m?sentinel_tls=hush", "sentinel_tls must be true or false"),
            ("redis+sentinel://s1/m?protocol=hush", "protocol must be resp2 or resp3"),
            ("redis+sentinel://s1/m#hush", "a # in a password is %23"),
            ("rediss+sentinel://:hush@s1/m#insecure", "#insecure is for a single server"),
            ("redis+sentinel://s1/m?sentinel_password=hu@sh", "there is an @ after the sentinels"),
            ("redis+sentinel://:hu\nsh@s1/m", "a tab or a line end"),
            ("http+sentinel://:hush@s1/m", "expected redis+sentinel://"),
            ("redis+sentinel://:%ffhush@s1/m", "the login is not UTF-8"),
        ] {
            let reason = read_url(url).expect_err(url);
            assert!(reason.contains(words), "{url}: {reason}");
            assert!(!reason.contains("hush") && !reason.contains("hu@sh") && !reason.contains("hu\nsh"), "{url}: {reason}");
        }
    }
}
