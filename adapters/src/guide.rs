//! The guide: what the items of this crate do together, one page for each subject. Every example in it is compiled.
//!
//! | page | subject |
//! |---|---|
//! | [`clients`] | leases, shared clients, node handles, clients for a key, transactions, subscriptions |
//! | [`subscriptions`] | subscriptions that survive outages and say what was missed; slow readers, keyspace notifications |
//! | [`configuration`] | every setting with unit, default and range; hooks, limits of connections, URLs, features |
//! | [`metrics`] | every metric, Prometheus, OpenTelemetry, the crate `metrics` |
//! | [`outages`] | what callers get when something fails, every error, HTTP 503, shutdown |
//! | [`observability`] | health for readiness probes, events, logs, JSON |
//! | [`cluster`] | Redis Cluster: failovers, moved slots, what is refused |
//! | [`sentinel`] | a primary behind sentinels or with given replicas: how it is found, failovers, reads from replicas, errors |
//! | [`tls`] | certificates and names |
//! | [`testing`] | tests with a virtual clock |
//! | [`performance`] | measurements beside other crates, with their commands |
//! | [`comparison`] | features and session state beside other crates |
//! | [`moving`] | what the code of deadpool-redis, bb8-redis, the redis crate, fred and mobc becomes |

/// A page of the guide, from a Markdown file.
///
/// Of two definitions of a link the first one counts: in these docs a link leads to an item, and on a forge, where only the
/// definitions at the end of the file are read, to a file. The examples are compiled where their features are on.
macro_rules! page {
    ($name:ident, $text:literal, $($compiled:tt)*) => {
        #[doc = "[clients]: crate::guide::clients"]
        #[doc = "[subscriptions]: crate::guide::subscriptions"]
        #[doc = "[configuration]: crate::guide::configuration"]
        #[doc = "[metrics]: crate::guide::metrics"]
        #[doc = "[outages]: crate::guide::outages"]
        #[doc = "[observability]: crate::guide::observability"]
        #[doc = "[cluster]: crate::guide::cluster"]
        #[doc = "[sentinel]: crate::guide::sentinel"]
        #[doc = "[tls]: crate::guide::tls"]
        #[doc = "[testing]: crate::guide::testing"]
        #[doc = "[performance]: crate::guide::performance"]
        #[doc = "[comparison]: crate::guide::comparison"]
        #[doc = "[moving]: crate::guide::moving"]
        #[doc = "[`ConfigError`]: crate::ConfigError"]
        #[doc = "[`NodePool`]: crate::pool::NodePool"]
        #[doc = "[`Observer`]: crate::Observer"]
        #[cfg_attr(
            any(feature = "tokio", feature = "smol"),
            doc = "[`AddNodeError`]: crate::AddNodeError\n\
                [`Client`]: crate::Client\n\
                [`ConnectFailure`]: crate::ConnectFailure\n\
                [`EventReader`]: crate::EventReader\n\
                [`GetClientError`]: crate::GetClientError\n\
                [`HealthReport`]: crate::HealthReport\n\
                [`NodeHandle`]: crate::NodeHandle\n\
                [`PoolArgs`]: crate::PoolArgs\n\
                [`PrimaryArgs`]: crate::PrimaryArgs\n\
                [`PubSub`]: crate::PubSub\n\
                [`PubSubEnd`]: crate::PubSubEnd\n\
                [`RedisErrorExt`]: crate::RedisErrorExt\n\
                [`RedisManager`]: crate::RedisManager\n\
                [`RedisManagerBuilder`]: crate::RedisManagerBuilder\n\
                [`RedisManagerConfig`]: crate::RedisManagerConfig\n\
                [`SentinelArgs`]: crate::SentinelArgs\n\
                [`SharedClient`]: crate::SharedClient\n\
                [`Subscriber`]: crate::Subscriber\n\
                [`TransactionError`]: crate::TransactionError"
        )]
        #[cfg_attr(
            all(feature = "cluster", any(feature = "tokio", feature = "smol")),
            doc = "[`ClusterArgs`]: crate::ClusterArgs\n\
                [`ClusterStatus`]: crate::ClusterStatus"
        )]
        #[cfg_attr(all(feature = "tls-rustls", any(feature = "tokio", feature = "smol")), doc = "[`TlsArgs`]: crate::tls::TlsArgs")]
        #[cfg_attr(
            all(
                any(feature = "metrics", feature = "opentelemetry", feature = "prometheus"),
                any(feature = "tokio", feature = "smol")
            ),
            doc = "[`ExportSource`]: crate::export::ExportSource"
        )]
        #[cfg_attr(
            feature = "testing",
            doc = "[`FakeRuntime`]: crate::testing::FakeRuntime\n\
                [`FakeServer`]: crate::testing::FakeServer"
        )]
        #[cfg_attr(any(not(doctest), $($compiled)*), doc = include_str!($text))]
        pub mod $name {}
    };
}

page!(clients, "guide/clients.md", any(feature = "tokio", feature = "smol"));
page!(subscriptions, "guide/subscriptions.md", any(feature = "tokio", feature = "smol"));
page!(configuration, "guide/configuration.md", feature = "tokio");
page!(
    metrics,
    "guide/metrics.md",
    all(feature = "metrics", feature = "opentelemetry", feature = "prometheus", feature = "tokio")
);
page!(outages, "guide/outages.md", any(feature = "tokio", feature = "smol"));
page!(observability, "guide/observability.md", feature = "tokio");
page!(cluster, "guide/cluster.md", all(feature = "cluster", feature = "tokio"));
page!(sentinel, "guide/sentinel.md", feature = "tokio");
page!(tls, "guide/tls.md", all(feature = "tls-rustls", feature = "tokio"));
page!(testing, "guide/testing.md", feature = "testing");
page!(performance, "guide/performance.md", any());
page!(comparison, "guide/comparison.md", any());
page!(moving, "guide/moving.md", feature = "tokio");
