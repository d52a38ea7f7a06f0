//! One table per question that a manifest is asked.
