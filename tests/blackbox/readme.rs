//! The commands that the READMEs show, executed.
