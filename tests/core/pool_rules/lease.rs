//! L1: what the type of a lease rules out.

use redis_manager_core::Lease;
use redis_manager_core::testing::FakeConnector;

/// A lease that can be cloned would make this ambiguous: the test would not compile. Seen to bite: with `&Lease`.
#[test]
fn l1_a_lease_cannot_be_cloned() {
    trait IsNotClone<Witness> {
        fn holds() {}
    }
    struct IsClone;
    impl<T: ?Sized> IsNotClone<()> for T {}
    impl<T: Clone> IsNotClone<IsClone> for T {}
    <Lease<FakeConnector> as IsNotClone<_>>::holds();
}
