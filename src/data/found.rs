//! What stands where a row was expected.

use serde_json::{Map, Value as Json};

use super::fault::Fault;

/// A row's columns.
pub type Columns = Map<String, Json>;

/// What stands where a row was expected.
pub struct Found {
    /// Line that it begins on, from 1.
    pub line: usize,
    /// Its columns, or why it is no row.
    pub row: Result<Columns, Fault>,
}
