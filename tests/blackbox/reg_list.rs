//! `reg-list`: a registry in, `manifest` records out.
