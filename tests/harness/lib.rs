//! The harness of the black-box tests: real programs, real servers, and fixtures that read as sentences.
//!
//! ```no_run
//! # use tests::*;
//! let registry = Registry::start();
//! Image::new().layer("a").tag("v1").push(&registry, "team/app");
//! let listed = Tool::new("reg-list").arg(registry.host()).run().succeeds();
//! assert_eq!(listed.records_of("manifest").len(), 1);
//! ```
//!
//! It owns how programs and servers are started, stopped and looked at. What is right and wrong belongs to
//! `blackbox/`. Nothing here knows the crate `common`: tests speak the wire format in literal JSON, so that a renamed
//! field turns a test red. In reading order:
//!
//! - [`tool`]: runs our programs in a clean environment and says what they did;
//! - [`registry`]: a real registry on a free port of the loopback, in a temporary folder;
//! - [`fixtures`]: what a test puts into it; [`bulk`]: much of it, fast;
//! - [`sample`]: the registry and the cluster of the demo;
//! - [`inventory`]: what runs, as a tool would say it, and times relative to now;
//! - [`storage`]: damage done below the registry, in its folder;
//! - [`tree`]: a storage tree without a registry, and what a collector must leave in it and take out of it;
//! - [`cluster`]: a real Kubernetes control plane; [`kubeconfig`], [`pod`]: ways into it; [`workloads`], [`helm`]: what a test does there;
//! - [`engine`]: a real container engine, for hosts without Kubernetes;
//! - [`scripted`]: a server that misbehaves on purpose; [`proxy`]: the same, in front of a real registry or cluster;
//! - [`token`], [`tls`], [`tunnel`], [`redis`], [`skopeo`]: the rest of the world;
//! - [`client`], [`http`], [`folder`], [`ports`], [`process`]: what these are made of.
//!
//! Every failure in here is the failure of a test, so it panics with a sentence.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the harness runs inside tests: a panic with a sentence is how a test fails"
)]

pub mod bulk;
pub mod client;
pub mod cluster;
pub mod engine;
pub mod fixtures;
pub mod folder;
pub mod helm;
pub mod http;
pub mod inventory;
pub mod kubeconfig;
pub mod pod;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod registry;
pub mod sample;
pub mod scripted;
pub mod skopeo;
pub mod storage;
pub mod tls;
pub mod token;
pub mod tool;
pub mod tree;
pub mod tunnel;
pub mod workloads;

pub use bulk::push_all;
pub use client::{Answer, Client};
pub use cluster::{Cluster, User};
pub use engine::Engine;
pub use fixtures::{BuildCache, Image, Index, Place, Pushed, Referrers, Signature, digest_of};
pub use folder::temporary;
pub use helm::Chart;
pub use inventory::{Inventory, ago, days_ago};
pub use kubeconfig::{Access, Kubeconfig};
pub use pod::Pod;
pub use proxy::{Gate, Proxy};
pub use redis::Redis;
pub use registry::Registry;
pub use scripted::{Request, Response, ScriptedServer};
pub use storage::Storage;
pub use token::TokenServer;
pub use tool::{Ran, Running, Tool, lines, shell};
pub use tree::{Fate, Mode, Tree};
pub use tunnel::Tunnel;
