//! Votes for a replica that wants to take the place of its primary.

use redis_manager_core::Instant;

use super::state::FakeClusterState;

/// What a replica asks the primaries.
#[derive(Clone, Debug)]
pub struct VoteRequest {
    pub(super) candidate: String,
    pub(super) primary: String,
    pub(super) epoch: u64,
    /// Of the slots that it claims.
    pub(super) config_epoch: u64,
    pub(super) is_forced: bool,
    pub(super) slots: Vec<u16>,
}

impl FakeClusterState {
    /// Asks for votes in a new epoch.
    pub(super) fn request(&mut self, is_forced: bool) -> Option<VoteRequest> {
        let primary = self.served().filter(|served| *served != 0)?;
        self.current_epoch += 1;
        let slots = self.slots_of(primary).collect();
        let primary = &self.nodes[primary];
        Some(VoteRequest {
            slots,
            candidate: self.me().id.clone(),
            primary: primary.id.clone(),
            epoch: self.current_epoch,
            config_epoch: primary.config_epoch,
            is_forced,
        })
    }

    /// Whether this node votes for it: once in an epoch, and once in two timeouts for the replicas of one primary.
    pub(super) fn vote(&mut self, now: Instant, request: &VoteRequest) -> bool {
        self.current_epoch = self.current_epoch.max(request.epoch);
        let is_outdated = request.epoch < self.current_epoch || self.voted_epoch == self.current_epoch;
        let Some(primary) = self.index_of(&request.primary).filter(|_| self.has_vote(0) && !is_outdated) else { return false };
        if self.index_of(&request.candidate).is_none() {
            return false;
        }
        let again_after = self.settings.node_timeout * 2;
        let node = &self.nodes[primary];
        let has_failed = node.failed_at.is_some();
        let has_voted = node.voted_at.is_some_and(|at| now < at + again_after);
        let is_newer = |owner: usize| self.nodes[owner].config_epoch > request.config_epoch;
        let is_outdated = request.slots.iter().any(|slot| self.owner(*slot).is_some_and(is_newer));
        if !has_failed && !request.is_forced || has_voted || is_outdated {
            return false;
        }
        self.voted_epoch = self.current_epoch;
        self.nodes[primary].voted_at = Some(now);
        true
    }

    /// Takes the place of its primary, in this epoch.
    pub(super) fn take_place(&mut self, epoch: u64) {
        let Some(former) = self.served().filter(|served| *served != 0) else { return };
        for slot in self.slots_of(former).collect::<Vec<_>>() {
            self.set_owner(slot, Some(0));
        }
        self.set_primary(None);
        self.nodes[0].config_epoch = epoch;
        self.current_epoch = self.current_epoch.max(epoch);
    }
}
