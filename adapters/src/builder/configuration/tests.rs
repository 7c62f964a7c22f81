use std::time::Duration;

use redis_manager_core::NodeConfig;

use super::*;

fn from(variables: &[(&str, &str)]) -> Result<RedisManagerConfig, ConfigError> {
    RedisManagerConfig::from_variables(variables.iter().map(|(name, value)| (String::from(*name), String::from(*value))))
}

fn error_of(variables: &[(&str, &str)]) -> String {
    from(variables).err().map(|error| error.to_string()).unwrap_or_default()
}

/// Settings that no text can set, each with the reason.
const IN_CODE_ALONE: [&str; 1] = ["cluster_args.address_map"];

/// A text that sets it to another value than its default, for each setting whose kind does not say it.
fn another(name: &str, unit: &str) -> &'static str {
    match name {
        "on_node_down" => "fail_fast",
        "probe_backoff" => "20ms, 30ms, 40ms",
        "pool_args.keepalive" => "30s / 5s / 2",
        "pool_args.protocol" => "resp2",
        "pool_args.handshake" => "least",
        "pool_args.unknown_commands" => "Refuse",
        "pool_args.nodelay" | "cluster_args.require_full_coverage" => "false",
        "pool_args.tls.client_certificate" => "client.crt, client.key",
        "startup_nodes" => "redis://clerk:secret@a, redis://clerk:secret@b",
        "cluster_args.read_from" => "zone eu-1a",
        "cluster_args.read_from_replicas" | "use_cluster" | "allow_insecure_tls" => "true",
        _ => match unit {
            "duration" => "321ms",
            "text" | "PEM" => "example",
            _ => "32",
        },
    }
}

/// Guards against: a setting without a row, or whose row sets nothing or another setting.
#[test]
fn every_setting_can_be_set_by_name_and_by_variable_and_wrong_values_name_it() {
    let unset = format!("{:?}", RedisManager::builder());
    let mut seen = Vec::new();
    for setting in RedisManager::settings() {
        let of_one_name = ["sentinel_args.", "primary_args."].iter().any(|prefix| setting.name.starts_with(prefix));
        if IN_CODE_ALONE.contains(&setting.name) || of_one_name {
            continue;
        }
        let value = another(setting.name, setting.unit);
        let mut config = RedisManagerConfig::default();
        config.set(setting.name, value).unwrap_or_else(|error| panic!("{error}"));
        let set = format!("{:?}", config.builder().expect("readable"));
        assert!(set != unset && !seen.contains(&set), "{} sets what another one does, or nothing", setting.name);
        seen.push(set.clone());

        let variable = format!("REDIS_MANAGER_{}", setting.name.replace('.', "_").to_uppercase());
        let by_variable = from(&[(&variable, value)]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(format!("{:?}", by_variable.builder().expect("readable")), set, "{variable}");
        assert!(by_variable.to_string().contains(&format!("({variable})")), "{by_variable}");

        // A text can be anything.
        if !matches!(setting.unit, "text" | "PEM" | "URLs") {
            let message = error_of(&[(&variable, "perhaps")]);
            assert!(message.starts_with(&format!("{variable}: {} is \"perhaps\": expected ", setting.name)), "{message}");
        }
    }
    assert_eq!(seen.len(), names().count(), "a row for no setting");
}

/// Guards against: unknown names that are passed over.
#[test]
fn unknown_names_are_refused_with_the_closest_one() {
    assert_eq!(
        error_of(&[("REDIS_MANAGER_MAX_CONECTION_SIZE", "7")]),
        "REDIS_MANAGER_MAX_CONECTION_SIZE: unknown setting max_conection_size: did you mean max_connection_size?"
    );
    let mut config = RedisManagerConfig::default();
    let error = config.set("colour", "green").expect_err("there is none").to_string();
    assert_eq!(error, "unknown setting colour");
    assert_eq!(config, RedisManagerConfig::default());
    // Others may have variables, too.
    assert_eq!(from(&[("REDIS_HOST", "here"), ("REDIS_MANAGER", "x")]), Ok(RedisManagerConfig::default()));
}

/// Guards against: the old names forgotten, their seconds read in another unit, and their precedence.
#[test]
fn the_short_variables_are_read_and_those_with_the_prefix_win() {
    let node = |variables: &[(&str, &str)]| from(variables).and_then(|config| config.builder()).expect("readable").node;
    assert_eq!(node(&[("MAX_CONNECTION_SIZE", "7")]), NodeConfig::builder().max_connection_size(7));
    let half = Duration::from_millis(500);
    assert_eq!(node(&[("HEALTH_CHECK_INTERVAL", "0.5")]), NodeConfig::builder().health_check_interval(half));
    assert_eq!(node(&[("CLEANUP_INTERVAL", "500ms")]), NodeConfig::builder().cleanup_interval(half));
    assert_eq!(node(&[("MAX_IDLE_TIME", " 0.5 ")]), NodeConfig::builder().max_idle_time(half));
    assert_eq!(node(&[("USE_REDIS_CLUSTER", "false"), ("MAX_IDLE_TIME", "")]), NodeConfig::builder());
    let both = [("REDIS_MANAGER_MAX_CONNECTION_SIZE", "8"), ("MAX_CONNECTION_SIZE", "7")];
    assert_eq!(node(&both), NodeConfig::builder().max_connection_size(8));
    for (name, setting, value) in
        [("MAX_CONNECTION_SIZE", "max_connection_size", "many"), ("MAX_IDLE_TIME", "max_idle_time", "-1")]
    {
        let message = error_of(&[(name, value)]);
        assert!(message.starts_with(&format!("{name}: {setting} is ")) && message.contains("expected "), "{message}");
    }
    assert!(error_of(&[("USE_REDIS_CLUSTER", "perhaps")]).contains("USE_REDIS_CLUSTER"));

    assert_eq!(from(&[("REDIS_URL", "redis://one")]).expect("a URL").nodes(), ["redis://one"]);
    let both = [("REDIS_URL", "redis://one"), ("REDIS_MANAGER_NODES", "redis://two redis+sentinel://a,b/three")];
    assert_eq!(from(&both).expect("URLs").nodes(), ["redis://two", "redis+sentinel://a,b/three"]);
}

/// Guards against: secrets in what is shown, and origins that are lost or taken over by the next layer.
#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let mut file = RedisManagerConfig::default();
    file.set("nodes", "redis://clerk:secret@one rediss://:hidden@two").expect("URLs");
    file.set("min_idle", "3").expect("a number");
    file.set("max_waiters", "70").expect("a number");
    let file = file.origin("redis.toml");
    let both = file.merge(from(&[("REDIS_MANAGER_MIN_IDLE", "4")]).expect("a number"));
    let shown = both.to_string();
    for line in [
        "min_idle = 4  (REDIS_MANAGER_MIN_IDLE)",
        "max_waiters = 70  (redis.toml)",
        "default_timeout = 10s  (default)",
        "nodes = redis://clerk:***@one rediss://:***@two  (redis.toml)",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "no line {line} in\n{shown}");
    }
    let debug = format!("{both:?} {both}");
    assert!(!debug.contains("secret") && !debug.contains("hidden"), "{debug}");
}

/// Guards against: a range of `build` without the origin of the value.
#[cfg(feature = "smol")]
#[test]
fn ranges_are_checked_by_build_and_named_with_the_origin() {
    let executor = std::sync::Arc::new(::smol::Executor::new());
    let build = |variables: &[(&str, &str)]| {
        let config = from(variables).expect("readable");
        config.build(crate::smol::SmolRuntime::with_executor(&executor)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(
        build(&[("REDIS_MANAGER_POOL_ARGS_COMMAND_TIMEOUT", "1ms")]),
        "REDIS_MANAGER_POOL_ARGS_COMMAND_TIMEOUT: command_timeout is 1ms: must be 10ms to 7 days"
    );
    assert_eq!(
        build(&[("REDIS_MANAGER_MAX_CONNECTION_SIZE", "0")]),
        "REDIS_MANAGER_MAX_CONNECTION_SIZE: max_connection_size is 0: must be 1 to 65536"
    );
    assert_eq!(build(&[("REDIS_MANAGER_MAX_CONNECTION_SIZE", "5")]), "");
}

/// Guards against: formats that have numbers, nulls, lists or tables where others have text.
#[cfg(feature = "serde")]
#[test]
fn files_have_numbers_switches_lists_nulls_and_tables() {
    let read = |text: &str| serde_json::from_str::<RedisManagerConfig>(text);
    let config = read(
        r#"{
            "max_connection_size": 20, "default_timeout": "2s", "on_node_down": "FailFast",
            "probe_backoff": ["20ms", "200ms", "2s"],
            "pool_args": {"nodelay": false, "keepalive": null, "client_name": "billing"},
            "pool_args.command_timeout": "250ms",
            "nodes": ["redis://one", "redis://two"]
        }"#,
    )
    .expect("all known");
    let same = RedisManager::builder()
        .max_connection_size(20)
        .default_timeout(Duration::from_secs(2))
        .on_node_down(redis_manager_core::OnNodeDown::FailFast)
        .probe_backoff(Duration::from_millis(20), Duration::from_millis(200), Duration::from_secs(2))
        .pool_args(
            crate::PoolArgs::default()
                .nodelay(false)
                .keepalive(None)
                .client_name("billing")
                .command_timeout(Duration::from_millis(250)),
        );
    assert_eq!(format!("{:?}", config.builder().expect("readable")), format!("{same:?}"));
    assert_eq!(config.nodes(), ["redis://one", "redis://two"]);
    for (text, expected) in [
        (r#"{"max_conection_size": 1}"#, "unknown setting max_conection_size: did you mean max_connection_size?"),
        (r#"{"pool_args": {"colour": 1}}"#, "unknown setting pool_args.colour"),
        (r#"{"min_idle": "many"}"#, "min_idle is \"many\": expected a whole number"),
        (r#"{"min_idle": -1}"#, "min_idle is \"-1\": expected a whole number"),
        (r#"{"default_timeout": 10}"#, "default_timeout is \"10\": expected a duration such as"),
        (r#"{"nodes": null}"#, "nodes is \"none\": expected a list of URLs"),
        ("[]", "a configuration is a table of settings"),
    ] {
        let error = read(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}
