# What scripts/demo, scripts/test and scripts/bench share: finding out what is missing, and installing it. Sourced, not run.
#
# The script that sources it has `say`, which speaks to people.

# need PROGRAM:PACKAGE…: installs the Debian packages of the programs that are not there.
need() {
    local missing=() pair
    command -v cargo > /dev/null || { say "cargo is missing: install Rust, https://rustup.rs"; exit 2; }
    # A C compiler is needed to build ring.
    for pair in cc:gcc ld:binutils "$@"; do
        # -P looks for files alone: bash has a `time` of its own.
        PATH="$PATH:/usr/sbin:/sbin" type -P "${pair%%:*}" > /dev/null || missing+=("${pair#*:}")
    done
    [ -e /usr/include/stdio.h ] || missing+=(libc6-dev)
    [ "${#missing[@]}" = 0 ] || install_packages "${missing[@]}"
}

install_packages() {
    local sudo=()
    if [ "$(id -u)" != 0 ]; then
        if ! sudo -n true 2> /dev/null && ! { [ -t 0 ] && command -v sudo > /dev/null; }; then
            say "programs are missing, and there is no right to install them; run as root, then start again:"
            say "apt-get update && apt-get install -y --no-install-recommends $*"
            exit 2
        fi
        sudo=(sudo)
    fi
    say "installing $*"
    # Debian starts servers when it installs them. Nothing here uses those, so whether they start does not matter.
    "${sudo[@]}" apt-get update -q >&2
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >&2 ||
        { say "apt-get could not install: $*"; exit 2; }
}
