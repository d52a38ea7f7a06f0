//! `k8s-images` on live clusters: a real control plane, a module for each topic.
//!
//! No registry is needed here, so `scripts/test` leaves this module out when it runs the others again on another one.

mod control_plane;
