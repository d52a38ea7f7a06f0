//! Black-box tests: the real programs against real servers. One file per tool, and one for what they do together.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "functions that several tests share fail as tests do")]

mod architecture;
mod harness_works;
mod k8s_clusters;
mod k8s_hosts;
mod k8s_images;
mod pipeline;
mod readme;
mod reg_check;
mod reg_delete;
mod reg_fix;
mod reg_gc;
mod reg_list;
mod reg_select;
mod registry_readonly;
mod storage_trees;
