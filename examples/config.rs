//! The configuration of a service from a file and the environment, by the crate config: what is in force, and where it comes from.
//!
//! ```sh
//! cargo run --example config
//! REDIS_MANAGER_MAX_CONNECTION_SIZE=30 cargo run --example config
//! REDIS_MANAGER_MAX_CONECTION_SIZE=30 cargo run --example config    # refused, with the name that was meant
//! cargo run --example config -- my.yaml
//! ```

use std::error::Error;

use config::{Config, File, FileFormat};
use redis_manager::RedisManagerConfig;
use redis_manager::tokio::TokioRuntime;

#[path = "support/server.rs"]
mod server;

/// What would be in a file.
const BUILT_IN: &str = r#"
max_connection_size = 20
default_timeout = "2s"
on_node_down = "FailFast"
probe_backoff = ["50ms", "500ms", "2s"]

[pool_args]
command_timeout = "250ms"
client_name = "billing"
keepalive = "none"
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let file = match std::env::args().nth(1) {
        Some(path) => read(Config::builder().add_source(File::with_name(&path)))?.origin(path),
        None => read(Config::builder().add_source(File::from_str(BUILT_IN, FileFormat::Toml)))?.origin("the built-in file"),
    };
    let mut config = file.merge(RedisManagerConfig::from_env()?);
    let server = if config.nodes().is_empty() { Some(server::ExampleServer::find()?) } else { None };
    if let Some(server) = &server {
        println!("server      {}\n", server.kind());
        config.set("nodes", server.url.as_str())?;
    }
    print!("{config}");

    let manager = config.build(TokioRuntime::current()?)?;
    for node in config.nodes() {
        manager.add_node_pool(&node).await?;
        let mut client = manager.get_client(&node).await?;
        let pong: String = redis::cmd("PING").query_async(&mut client).await?;
        println!("\n{}: {pong}", client.node());
    }
    manager.close_all_pools().await;
    Ok(())
}

fn read(sources: config::ConfigBuilder<config::builder::DefaultState>) -> Result<RedisManagerConfig, config::ConfigError> {
    sources.build()?.try_deserialize()
}

#[cfg(test)]
mod tests {
    use figment::Figment;
    use figment::providers::{Format, Toml};

    use super::*;

    const YAML: &str = "
max_connection_size: 20
default_timeout: 2s
on_node_down: FailFast
probe_backoff: [50ms, 500ms, 2s]
pool_args:
  command_timeout: 250ms
  client_name: billing
  keepalive: none
";

    fn by_config(text: &str, format: FileFormat) -> Result<RedisManagerConfig, config::ConfigError> {
        read(Config::builder().add_source(File::from_str(text, format)))
    }

    /// Guards against: a crate that hands numbers or keys over in a form of its own.
    #[test]
    fn both_crates_and_both_formats_read_the_same() {
        let toml = by_config(BUILT_IN, FileFormat::Toml).expect("known settings");
        assert!(toml.to_string().contains("pool_args.command_timeout = 250ms"), "{toml}");
        assert_eq!(by_config(YAML, FileFormat::Yaml).expect("known settings"), toml);
        assert_eq!(Figment::from(Toml::string(BUILT_IN)).extract::<RedisManagerConfig>().expect("known settings"), toml);
    }

    /// Guards against: unknown keys and unreadable values that one of the crates passes over.
    #[test]
    fn both_crates_tell_what_is_wrong() {
        for (text, expected) in [
            ("max_conection_size = 20", "unknown setting max_conection_size: did you mean max_connection_size?"),
            ("default_timeout = \"soon\"", "default_timeout is \"soon\": expected a duration"),
            ("[pool_args]\nclient_nam = \"x\"", "unknown setting pool_args.client_nam: did you mean pool_args.client_name?"),
        ] {
            let error = by_config(text, FileFormat::Toml).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
            let error = Figment::from(Toml::string(text)).extract::<RedisManagerConfig>().expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
