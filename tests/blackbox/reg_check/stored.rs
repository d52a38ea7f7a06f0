//! `reg-check` on a storage tree.
