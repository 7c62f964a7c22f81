#!/bin/sh
# Installs what the tests need (a redis-server, on Debian and its kin) and runs all of them.

set -eu
cd "$(dirname "$0")/.."

if ! command -v redis-server >/dev/null 2>&1; then
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        as_root="sudo"
    fi
    echo "redis-server is missing: installing it with apt-get"
    $as_root apt-get update
    # Only the program is wanted: a service that starts by itself would be in nobody's way, but for nothing.
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends redis-server
fi
redis-server --version

# Most tests against real servers wait for time to pass, so more of them than cores may run at once.
RUST_TEST_THREADS="${RUST_TEST_THREADS:-6}"
export RUST_TEST_THREADS
# The default members: the benchmarks beside other pools take long to build and test nothing.
cargo test --locked --all-features "$@"
