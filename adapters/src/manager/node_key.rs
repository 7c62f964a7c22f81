//! The key of a node: its URL without redundant parts. Does not check whether the URL is valid.

use std::borrow::Cow;

/// The URL of a node without the default port, the database 0 in its path, and a `/` or `?` at the end. Two URLs with the same
/// key are one node. Most URLs are their own key, or begin with it; nothing is allocated for those.
pub(super) fn node_key(url: &str) -> Cow<'_, str> {
    let url = url.trim();
    let Some(start) = url.find("://").map(|at| at + 3).filter(|_| !url.contains("unix")) else { return Cow::Borrowed(url) };
    let place_end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let path_end = url[place_end..].find(['?', '#']).map_or(url.len(), |at| place_end + at);
    let place = url[..place_end].strip_suffix(":6379").filter(|place| place.len() > start).unwrap_or(&url[..place_end]);
    let path = match url[place_end..path_end].trim_end_matches('/') {
        "/0" => "",
        path => path,
    };
    let query = match &url[path_end..] {
        "?" => "",
        query => query,
    };
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
            ("a name", "a name"),
        ] {
            assert_eq!(node_key(url), key, "{url}");
        }
    }
}
