use std::collections::BTreeSet;

use redis::Value;

use super::*;
use crate::deployment::cluster::state::report::{Asked, read_report};

const ONE: &str = "\
aa h:1@1 myself,master - 0 0 1 connected 0-5460\n\
bb h:2@1 master - 0 1 2 connected 5461-10922\n\
cc h:3@1 master - 0 1 3 connected 10923-16383\n\
dd h:4@1 slave aa 0 1 1 connected\n";

struct StateRig {
    state: ClusterState,
    now: Instant,
    asked: Vec<String>,
    probed: Vec<ClusterNodeId>,
    roles: Vec<ClusterNodeId>,
    cut: Vec<ClusterNodeId>,
    gone: Vec<ClusterNodeId>,
    changes: Vec<TopologyChange>,
}

impl StateRig {
    fn new(require_full_coverage: bool) -> Self {
        let settings = ClusterSettings {
            startup: vec![Arc::from("start:1")],
            require_full_coverage,
            reads_replicas: false,
            refresh_interval: Duration::from_secs(30),
            check_interval: Duration::from_secs(1),
        };
        let now = Instant::ZERO + Duration::from_secs(100);
        let lists = (vec![], vec![], vec![], vec![], vec![], vec![]);
        let (asked, probed, roles, cut, gone, changes) = lists;
        let mut rig = Self { state: ClusterState::new(settings, now), now, asked, probed, roles, cut, gone, changes };
        rig.tick(0);
        rig
    }

    /// A cluster whose topology was reported.
    fn known(require_full_coverage: bool) -> Self {
        let mut rig = Self::new(require_full_coverage);
        rig.report("start:1", ONE);
        rig.asked.clear();
        rig
    }

    fn tell(&mut self, input: ClusterInput) {
        self.state.handle(self.now, input);
        while let Some(output) = self.state.poll_output() {
            match output {
                ClusterOutput::AskReport(address) => self.asked.push(address.to_string()),
                ClusterOutput::Probe(node) => self.probed.push(node),
                ClusterOutput::AskRole(node) => self.roles.push(node),
                ClusterOutput::Cut(node) => self.cut.push(node),
                ClusterOutput::Forget(node) => self.gone.push(node),
                ClusterOutput::Changed { cause, .. } => self.changes.push(cause),
                ClusterOutput::Owner { .. } | ClusterOutput::HealthChanged | ClusterOutput::RoundEnded => {}
            }
        }
    }

    fn tick(&mut self, millis: u64) {
        self.now = self.now + Duration::from_millis(millis);
        self.tell(ClusterInput::Tick { jitter: 0.0 });
    }

    fn report(&mut self, from: &str, text: &str) {
        let nodes = Value::BulkString(text.as_bytes().to_vec());
        let report = read_report(None, Some(&nodes), None, Asked { address: "h:1", tls: false }).expect("it is well formed");
        self.tell(ClusterInput::Reported { from: Arc::from(from), report: Ok(report) });
    }

    fn node(&self, address: &str) -> ClusterNodeId {
        self.state.topology().find(address).expect("it is known")
    }

    fn owner(&self, slot: u16) -> &str {
        let node = self.state.topology().node(self.state.topology().owner(slot));
        node.map_or("", |node| &*node.address)
    }
}

/// Seen to bite: with the coverage by owners alone, whether they live or not.
#[test]
fn k4_a_cluster_of_which_a_slot_has_no_living_owner_is_not_up() {
    for (require_full_coverage, health) in [(true, Health::Down), (false, Health::Suspect)] {
        let mut rig = StateRig::new(require_full_coverage);
        assert_eq!(rig.state.health(), Health::Down, "nothing is known");
        rig.report("start:1", ONE);
        assert_eq!((rig.state.health(), rig.probed.len()), (Health::Up, 3));
        let three = rig.node("h:3");
        rig.tell(ClusterInput::Probed { node: three, alive: false });
        assert_eq!((rig.state.health(), rig.state.living_slots()), (health, 10_923));
        let why = rig.state.why_not_up().expect("it is not up").to_string();
        assert_eq!(why, "5461 slots of the cluster have no owner that answers: h:3");
        rig.tell(ClusterInput::Probed { node: three, alive: true });
        assert_eq!((rig.state.health(), rig.state.why_not_up().is_none()), (Health::Up, true));
        rig.tell(ClusterInput::Dials { failing: BTreeSet::from([three]) });
        assert_eq!(rig.state.health(), health);
        let one = rig.node("h:1");
        rig.tell(ClusterInput::Dials { failing: BTreeSet::from([one]) });
        assert_eq!(rig.state.health(), Health::Suspect, "its replica may take its place");
        rig.tick(19_999);
        assert_eq!(rig.state.health(), Health::Suspect);
        rig.tick(1);
        assert_eq!(rig.state.health(), health, "and has not done so");
    }
}

/// Seen to bite: with slots without an owner that are no loss.
#[test]
fn k4_a_cluster_with_a_slot_that_no_node_owns_is_down_where_all_are_required() {
    for (require_full_coverage, health) in [(true, Health::Down), (false, Health::Suspect)] {
        let mut rig = StateRig::new(require_full_coverage);
        rig.report("start:1", &ONE.replace("10923-16383", "10923-16382"));
        assert_eq!((rig.state.health(), rig.state.living_slots()), (health, 16_383));
        assert_eq!(rig.state.why_not_up().expect("it is not up").to_string(), "1 slots of the cluster have no owner");
    }
}

/// Seen to bite: with rounds whenever one is wanted.
#[test]
fn k2_a_burst_of_moves_is_believed_at_once_and_asks_once_a_second() {
    let mut rig = StateRig::known(true);
    for slot in 0..500 {
        rig.tell(ClusterInput::Moved { slot, to: Arc::from("h:2") });
        assert_eq!(rig.owner(slot), "h:2");
    }
    assert_eq!(rig.asked, Vec::<String>::new(), "the last round began less than a second ago");
    rig.tick(1_000);
    assert_eq!(rig.asked.len(), 3, "one round: three nodes at once");
    for rounds in 2..=10 {
        rig.report("h:1", ONE);
        assert_eq!(rig.owner(0), "h:2", "the node that reports may be behind");
        rig.tick(1_000);
        assert_eq!(rig.asked.len(), 3 * rounds, "until a report shows the moves");
    }
    rig.report("h:1", ONE);
    assert_eq!(rig.owner(0), "h:1", "all nodes would know by now");
    rig.tick(5_000);
    assert_eq!(rig.asked.len(), 30, "nothing has happened since");
    rig.tell(ClusterInput::Moved { slot: SLOTS, to: Arc::from("h:2") });
    assert_eq!(rig.asked.len(), 33, "nonsense is a reason to ask, and no more");
}

/// Seen to bite: with moves that are forgotten at every report, and with moves to a node that gives no sign of life.
#[test]
fn k1_a_promotion_holds_against_a_report_of_a_node_that_is_behind_and_a_move_to_a_silent_node_does_not() {
    let mut rig = StateRig::known(true);
    let (one, two, four) = (rig.node("h:1"), rig.node("h:2"), rig.node("h:4"));
    rig.tick(1_000);
    rig.tell(ClusterInput::Dials { failing: BTreeSet::from([one]) });
    rig.tell(ClusterInput::Role { node: four, is_primary: true });
    rig.tell(ClusterInput::Moved { slot: 16_000, to: Arc::from("h:2") });
    for _ in 0..2 {
        rig.tick(1_000);
        rig.report("h:4", ONE);
        rig.report("h:3", ONE);
        assert_eq!((rig.owner(0), rig.owner(16_000)), ("h:4", "h:2"));
        assert_eq!((rig.cut.as_slice(), rig.state.health()), ([one].as_slice(), Health::Up), "nothing is sent to the former one");
    }
    rig.tell(ClusterInput::Probed { node: two, alive: false });
    rig.tick(1_000);
    rig.report("h:4", ONE);
    rig.report("h:3", ONE);
    assert_eq!((rig.owner(0), rig.owner(16_000)), ("h:4", "h:3"));
}

/// Seen to bite: with a role that is believed of any node, and with a promotion that waits for a report.
#[test]
fn k3_a_replica_of_a_primary_that_fails_is_believed_when_it_says_that_it_is_one() {
    let mut rig = StateRig::known(true);
    let (one, four) = (rig.node("h:1"), rig.node("h:4"));
    rig.tell(ClusterInput::Role { node: four, is_primary: true });
    assert_eq!(rig.owner(0), "h:1", "its primary lives");
    rig.tell(ClusterInput::Dials { failing: BTreeSet::from([one]) });
    rig.tick(100);
    assert_eq!(rig.roles, [four]);
    rig.tick(100);
    assert_eq!(rig.roles, [four], "one question at a time");
    rig.tell(ClusterInput::Role { node: four, is_primary: false });
    rig.tick(100);
    assert_eq!(rig.roles, [four, four]);
    rig.tell(ClusterInput::Role { node: four, is_primary: true });
    assert_eq!((rig.owner(0), rig.owner(5460), rig.state.health()), ("h:4", "h:4", Health::Up));
    assert_eq!(rig.changes.last(), Some(&TopologyChange::Promoted));
    rig.tick(99);
    assert_eq!(rig.cut, []);
    rig.tick(1);
    assert_eq!(rig.cut, [one], "it answers no more");
    rig.tick(1_000);
    assert_eq!(rig.asked, ["h:4"], "the one that knows is asked, and alone");
}

/// Seen to bite: with one failed round as the last one.
#[test]
fn k1_a_cluster_that_does_not_answer_is_asked_for_ever() {
    let mut rig = StateRig::new(true);
    for _ in 0..20 {
        assert_eq!(std::mem::take(&mut rig.asked), ["start:1"]);
        rig.tell(ClusterInput::Reported { from: Arc::from("start:1"), report: Err(ClusterError::NoNode) });
        assert_eq!(rig.state.why_not_up().expect("it is down").to_string(), "no node of the cluster is known");
        rig.tick(250);
    }
    rig.report("start:1", ONE);
    assert_eq!(rig.state.health(), Health::Up);
}

/// Seen to bite: with the look for promotions behind the round that it wants.
#[test]
fn k3_while_a_primary_without_replicas_fails_others_are_asked_for_the_topology() {
    let mut rig = StateRig::known(false);
    let three = rig.node("h:3");
    rig.tick(5_000);
    rig.tell(ClusterInput::Dials { failing: BTreeSet::from([three]) });
    assert_eq!(rig.asked.len(), 3, "at once: the last round was long ago");
    rig.report("h:1", ONE);
    rig.tick(999);
    assert_eq!(rig.asked.len(), 3);
    rig.tick(1);
    assert_eq!(rig.asked.len(), 6);
}

#[test]
fn a_node_that_leaves_is_forgotten_once_with_all_that_was_asked_of_it() {
    let mut rig = StateRig::known(true);
    let three = rig.node("h:3");
    rig.tell(ClusterInput::Probed { node: three, alive: false });
    rig.tick(30_000);
    let text = ONE.replace("cc h:3@1 master - 0 1 3 connected 10923-16383\n", "").replace("5461-10922", "5461-16383");
    rig.report("h:1", &text);
    assert_eq!((rig.gone.as_slice(), rig.state.health()), ([three].as_slice(), Health::Up));
    rig.tell(ClusterInput::Probed { node: three, alive: false });
    assert_eq!(rig.state.health(), Health::Up);
}

/// What a cluster of so many primaries has to do in ten quiet seconds: reports, signs of life, and all outputs.
fn work_of_ten_seconds(primaries: u16) -> (usize, usize, usize) {
    let mut rig = StateRig::new(true);
    let line = |number: u16| {
        let share = |number: u16| u32::from(SLOTS) * u32::from(number) / u32::from(primaries);
        let (first, last) = (share(number), share(number + 1) - 1);
        format!("id{number} h:{}@1 master - 0 1 {} connected {first}-{last}\n", number + 1, number + 1)
    };
    let text: String = (0..primaries).map(line).collect();
    rig.report("start:1", &text);
    for node in std::mem::take(&mut rig.probed) {
        rig.tell(ClusterInput::Probed { node, alive: true });
    }
    rig.asked.clear();
    let mut outputs = 0;
    for _ in 0..100 {
        rig.now = rig.now + Duration::from_millis(100);
        rig.state.handle(rig.now, ClusterInput::Tick { jitter: 0.0 });
        while let Some(output) = rig.state.poll_output() {
            outputs += 1;
            match output {
                ClusterOutput::AskReport(address) => rig.asked.push(address.to_string()),
                ClusterOutput::Probe(node) => {
                    rig.probed.push(node);
                    rig.state.handle(rig.now, ClusterInput::Probed { node, alive: true });
                }
                other @ (ClusterOutput::AskRole(_)
                | ClusterOutput::Owner { .. }
                | ClusterOutput::Changed { .. }
                | ClusterOutput::HealthChanged
                | ClusterOutput::RoundEnded
                | ClusterOutput::Cut(_)
                | ClusterOutput::Forget(_)) => panic!("at rest there is no reason for {other:?}"),
            }
        }
    }
    (rig.asked.len(), rig.probed.len(), outputs)
}

/// Seen to bite: with a probe of each node by each round of all.
#[test]
fn k1_a_cluster_of_300_nodes_is_followed_with_work_that_grows_as_the_nodes() {
    assert_eq!(work_of_ten_seconds(30), (0, 300, 300));
    assert_eq!(work_of_ten_seconds(300), (0, 3_000, 3_000));
}

/// Seen to bite: with the map published as a whole.
#[test]
fn k1_a_moved_publishes_one_slot() {
    let mut rig = StateRig::known(true);
    rig.state.handle(rig.now, ClusterInput::Moved { slot: 7, to: Arc::from("h:2") });
    let outputs: Vec<_> = std::iter::from_fn(|| rig.state.poll_output()).collect();
    let [ClusterOutput::Owner { slot: 7, node }, ClusterOutput::Changed { cause: TopologyChange::Moved, failovers: 0 }] =
        &outputs[..]
    else {
        panic!("{outputs:?}");
    };
    assert_eq!(*node, rig.node("h:2"));
}
