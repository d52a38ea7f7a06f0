//! `reg-delete`: a plan in, deletions and their journal out.
