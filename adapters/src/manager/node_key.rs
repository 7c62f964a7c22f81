//! The key of a node: its URL without redundant parts. Does not check whether the URL is valid.

use std::borrow::Cow;

/// The URL of a node without the default port, the database 0 in its path, and a `/` or `?` at the end. Two URLs with the same
/// key are one node. Most URLs are their own key, or begin with it; nothing is allocated for those.
pub(super) fn node_key(url: &str) -> Cow<'_, str> {
    let url = url.trim();
    let is_host = |scheme: &str| !scheme.to_ascii_lowercase().contains("unix");
    let Some(start) = url.find("://").filter(|at| is_host(&url[..*at])).map(|at| at + 3) else { return Cow::Borrowed(url) };
    let place_end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let path_end = url[place_end..].find(['?', '#']).map_or(url.len(), |at| place_end + at);
    let place = url[..place_end].strip_suffix(":6379").filter(|place| place.len() > start).unwrap_or(&url[..place_end]);
    let path = match url[place_end..path_end].trim_end_matches('/') {
        "/0" if !url[path_end..].contains("db=") => "",
        path => path,
    };
    let query = match &url[path_end..] {
        "?" => "",
        query => query,
    };
    if let Some(key) = with_database_in_path(place, path, query) {
        return Cow::Owned(key);
    }
    if path.is_empty() && query.is_empty() {
        return Cow::Borrowed(place);
    }
    match place.len() == place_end {
        // What follows is as it was.
        true if path.len() == path_end - place_end || query.is_empty() => {
            Cow::Borrowed(&url[..place_end + path.len() + query.len()])
        }
        _ => Cow::Owned(format!("{place}{path}{query}")),
    }
}

/// The key of a URL whose database is in its query and not in its path; none for all others.
fn with_database_in_path(place: &str, path: &str, query: &str) -> Option<String> {
    let (query, fragment) = query.split_once('#').map_or((query, None), |(query, fragment)| (query, Some(fragment)));
    let parts: Vec<&str> = query.strip_prefix('?')?.split('&').collect();
    let db = parts.iter().find_map(|part| part.strip_prefix("db="))?;
    let is_number = !db.is_empty() && db.bytes().all(|byte| byte.is_ascii_digit());
    if !path.is_empty() || !is_number || parts.iter().filter(|part| part.starts_with("db=")).count() > 1 {
        return None;
    }
    let rest: Vec<&str> = parts.into_iter().filter(|part| !part.starts_with("db=")).collect();
    let path = if db == "0" { String::new() } else { format!("/{db}") };
    let query = if rest.is_empty() { String::new() } else { format!("?{}", rest.join("&")) };
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    Some(format!("{place}{path}{query}{fragment}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against: the port, the path or the query left as it is, a port that only ends with the default one.
    #[test]
    fn spellings_of_one_node_have_one_key_and_those_of_others_do_not() {
        for url in [
            "redis://h",
            "redis://h/",
            "redis://h:6379",
            "redis://h:6379/",
            "redis://h/0",
            "redis://h:6379/0/",
            "redis://h?",
            " redis://h\n",
            "redis://h?db=0",
            "redis://h:6379/?db=0",
        ] {
            assert_eq!(node_key(url), "redis://h", "{url}");
        }
        for (url, key) in [
            ("redis://h:6380/", "redis://h:6380"),
            ("redis://h:16379", "redis://h:16379"),
            ("redis://h:6379/1", "redis://h/1"),
            ("redis://h:6379/1/", "redis://h/1"),
            ("redis://h/1/", "redis://h/1"),
            ("redis://h/10", "redis://h/10"),
            ("redis://h:6379/?protocol=resp2", "redis://h?protocol=resp2"),
            ("redis://h/?protocol=resp2", "redis://h?protocol=resp2"),
            ("redis://h/1?protocol=resp2", "redis://h/1?protocol=resp2"),
            ("redis://u:6379@h:6379/0", "redis://u:6379@h"),
            ("redis://:6379@h", "redis://:6379@h"),
            ("redis://:6379", "redis://:6379"),
            ("redis://[::1]:6379", "redis://[::1]"),
            ("rediss://h:6379#insecure", "rediss://h#insecure"),
            ("unix:///run/redis/0", "unix:///run/redis/0"),
            ("redis://unixbox:6379/", "redis://unixbox"),
            ("redis://unix:p@h:6379", "redis://unix:p@h"),
            ("UNIX:///run/redis/0", "UNIX:///run/redis/0"),
            ("redis://h?db=2", "redis://h/2"),
            ("redis://h:6379/?protocol=resp2&db=2", "redis://h/2?protocol=resp2"),
            ("redis://h/1?db=1", "redis://h/1?db=1"),
            ("redis://h?db=x", "redis://h?db=x"),
            ("a name", "a name"),
        ] {
            assert_eq!(node_key(url), key, "{url}");
        }
    }
}
