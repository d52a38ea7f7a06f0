//! The rules by which the folders of this workspace may know one another, asserted from the sources.
