//go:build tools

// Names the server programs that the tests build from their published modules: the control plane of Kubernetes 1.35 with
// kubectl, and etcd 3.6, which it stores in. `scripts/test` builds them into target/servers/; go.mod and go.sum pin every byte.
//
// The go.mod of k8s.io/kubernetes replaces its staging modules by folders of its own repository. Nobody else has these
// folders, so ours replaces each by the version that was published from them: v1.35.4 is made of v0.35.4.
package servers

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
