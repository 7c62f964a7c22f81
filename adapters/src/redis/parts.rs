//! What deployments are made of.

pub(crate) use crate::redis_node::command_profile::CommandProfile;
pub(crate) use crate::redis_node::connection::RedisConnection;
pub(crate) use crate::redis_node::connector::NodeMembership;
pub(crate) use crate::redis_node::dial_target::{DialPlace, DialTarget, FindPlace};
pub(crate) use crate::redis_node::metrics::command_label::{labels, text_of_label};
pub(crate) use crate::redis_node::metrics::counted_request::{CountedRequest, CountsRequests};
pub(crate) use crate::redis_node::metrics::node_counters::NodeCounters;
pub(crate) use crate::redis_node::parameters::decode_percent;
pub(crate) use crate::redis_node::redirection_listener::RedirectionListener;
pub(crate) use crate::redis_node::replies::name_of;
pub(crate) use crate::redis_node::reply_class::Author;
pub(crate) use crate::redis_node::reply_timeout::ReplyTimeout;
pub(crate) use crate::redis_node::reply_timeout::ReusableSleep;
pub(crate) use crate::redis_node::routed_connection::RoutedConnection;
pub(crate) use crate::redis_node::routed_handle::RequestLimits;
pub(crate) use crate::redis_node::secrets::Secrets;
pub(crate) use crate::redis_node::shared_handle::{SharedHandle, refuse_unless_plain, refuse_unless_plain_pipeline};
