#!/bin/sh
# Installs what the tests need (a redis-server, on Debian and its kin) and runs all of them.
#
# With `--server NAME` first, those that need a real server run against that one (the names are in servers.sh), with
# `--server all` against each in turn. What a server cannot do is skipped, named and counted at the end.

set -eu
cd "$(dirname "$0")/.."

server=""
if [ "${1:-}" = --server ]; then
    server="${2:?--server wants debian, redis-6.2, redis-8.2, valkey-9.1 or all}"
    shift 2
fi

# Most tests against real servers wait for time to pass, so more of them than cores may run at once.
RUST_TEST_THREADS="${RUST_TEST_THREADS:-8}"
# Where a test that is skipped says so.
SKIPPED_TESTS="$(pwd)/target/skipped-tests"
export RUST_TEST_THREADS SKIPPED_TESTS

# with_server NAME COMMAND...: runs it with that server as the redis-server on the PATH.
with_server() (
    name="$1"
    shift
    bin="$(tests/servers.sh "$name")"
    # Daemons of Debian lie in /usr/sbin, which is not on the PATH of everybody.
    export PATH="$bin:$PATH:/usr/sbin" TESTED_SERVER="$name"
    mkdir -p target
    : >"$SKIPPED_TESTS"
    "$@"
    sort "$SKIPPED_TESTS"
    echo "$name: $(wc -l <"$SKIPPED_TESTS") skipped"
)

tests_of_real_servers() {
    cargo test --locked --all-features --test redis --test allocations "$@"
    cargo test --locked --all-features --lib -- every_command_of_a_real_server
}

case "$server" in
    # The default members: the benchmarks beside other pools take long to build and test nothing.
    '') with_server debian cargo test --locked --all-features "$@" ;;
    all)
        for name in debian redis-6.2 redis-8.2 valkey-9.1; do
            with_server "$name" tests_of_real_servers "$@"
        done ;;
    *) with_server "$server" tests_of_real_servers "$@" ;;
esac
