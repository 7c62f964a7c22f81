//! Where connections report the redirections that their nodes answer: they know no deployment.

use crate::connection::resp::answer::Replies;

/// Hears of the answers on exclusive connections, whose redirections are not followed.
pub(crate) trait RedirectionListener: Send + Sync {
    fn look_at(&self, answer: &Replies);
}
