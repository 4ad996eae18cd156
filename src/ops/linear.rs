//! Linear layers.
