//! Rankings and datasets.
