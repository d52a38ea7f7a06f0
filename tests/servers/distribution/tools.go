//go:build tools

// Names the server program that the tests build from its published module: Distribution 3.1, which Debian does not
// package. `scripts/test` builds it into target/servers/registry; go.mod and go.sum pin every byte of it.
package servers

import _ "github.com/distribution/distribution/v3/cmd/registry"
