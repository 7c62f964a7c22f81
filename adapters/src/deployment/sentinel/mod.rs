//! A primary behind sentinels: one node whose server is found by asking them, and found again when it changes.
//!
//! ```text
//!  Client, SharedClient --> pools of the primary --- a dial asks for the place ---> SentinelGroup
//!                                ^                                                     |   ^
//!                                '--- replace_server, when another is the primary -----'   |
//!  SentinelGroup <--> SentinelState (state/: who is the primary; pure) <-- SentinelMonitor, questions, announcements
//! ```

mod args;
mod asking;
mod failure;
mod group;
mod listening;
mod monitor;
mod places;
mod plan;
mod primary_change;
mod sentinel_name;
mod state;
mod status;
mod url;

pub use args::SentinelArgs;
pub(crate) use group::SentinelGroup;
pub(crate) use plan::SentinelPlan;
pub use primary_change::PrimaryChange;
pub(crate) use sentinel_name::SentinelName;
pub use status::{SentinelReport, SentinelStatus};
pub(crate) use url::{is_sentinel_url, read_url};
