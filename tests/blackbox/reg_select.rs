//! `reg-select`: a listing and inventories in, verdicts out.
