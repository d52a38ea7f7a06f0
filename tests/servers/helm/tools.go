//go:build tools

// Names the program that the tests build from its published module: Helm 3, whose releases are secrets in a cluster.
// `scripts/test` builds it into target/servers/helm; go.mod and go.sum pin every byte of it.
package servers

import _ "helm.sh/helm/v3/cmd/helm"
