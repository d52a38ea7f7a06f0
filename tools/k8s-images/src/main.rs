#![doc = include_str!("../README.md")]

mod document;
mod tree;

fn main() {}
