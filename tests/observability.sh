#!/bin/sh
# The testbench with a real Prometheus and a real browser: every expression of the dashboard and of the alarms has data, each
# alarm fires in its fault and in no other, and the page shows a kill; the page of live_feed shows the gap of a kill. Installs Debian's packages where they are missing.
#   tests/observability.sh [SCREENSHOT.png]

set -eu
cd "$(dirname "$0")/.."
screenshot="${1:-target/testbench.png}"
target="${CARGO_TARGET_DIR:-target}"

missing=""
for pair in prometheus:prometheus promtool:prometheus chromium:chromium chromedriver:chromium-driver python3:python3; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
if [ -n "$missing" ]; then
    as_root=""
    [ "$(id -u)" -eq 0 ] || as_root="sudo"
    echo "installing$missing with apt-get" >&2
    $as_root apt-get update >&2
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends $missing >&2
fi

promtool check rules examples/prometheus/alarms.yml
cargo build --locked -p redis-manager-examples --example testbench --example live_feed
mkdir -p "$(dirname "$screenshot")"
python3 tests/observability/live_feed.py "$target/debug/examples/live_feed"
exec python3 tests/observability/check.py "$target/debug/examples/testbench" "$screenshot"
