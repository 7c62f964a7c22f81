//! What the server that the tests run against cannot do: as it answers, and as it is known.

use std::env;

use redis_manager_tests::abilities::Ability;

/// With Debian's server, and any that is not named, nothing is skipped but for what newer servers can. Seen to bite: with a `has_tls` that is always false,
/// on Debian's, and always true, on the others.
#[test]
fn no_test_is_skipped_but_for_what_its_server_is_known_to_lack() {
    let known: &[Ability] = match env::var("TESTED_SERVER").as_deref() {
        Ok("redis-6.2") => &Ability::ALL,
        Ok("redis-8.2") => &[Ability::Tls, Ability::Redirect],
        Ok("valkey-9.1") => &[Ability::Tls],
        Ok("debian") | Err(_) => &[Ability::LibraryOfClients, Ability::Redirect],
        Ok(other) => panic!("what does {other} lack?"),
    };
    let missing: Vec<_> = Ability::ALL.into_iter().filter(|ability| ability.is_missing()).collect();
    assert_eq!(missing, known, "what the server says that it lacks, and what it is known to lack");
}
