//! What the table of methods is made of. One row says everything that the command line, the package, the page and the docs say of a method.

use serde_json::{Map, Value as Json};

use super::field::{Default, Field, Metric, Text};
use super::shared;
use super::trl::Fixed;
use crate::Result;
use crate::data::{RowKind, RowReader};
use crate::tune::method::Method;
use crate::tune::values::{Known, Values, Wrong};

/// From rows, read as the configuration says, to a method.
pub type Build = fn(&RowReader<'_>, &Values, &[Json]) -> Result<Box<dyn Method>>;

/// A row of the table.
pub struct MethodInfo {
    /// `--method`, and what a checkpoint calls it.
    pub name: &'static str,
    /// What people call it; the package's classes begin with it.
    pub title: &'static str,
    /// The page's choice of what to learn from.
    pub learns: Text,
    /// One sentence.
    pub what: Text,
    /// Which of TRL's configurations its fields are.
    pub config: &'static str,
    /// Paper or source of the formula, and where it departs from TRL.
    pub notes: &'static [&'static str],
    /// Which rows it trains on.
    pub rows: RowKind,
    /// Its own fields.
    pub fields: &'static [Field],
    /// Other defaults of shared fields.
    pub defaults: &'static [(&'static str, Default)],
    /// Shared fields that it does not have, and why.
    pub without: &'static [(&'static str, &'static str)],
    /// Fields of TRL's configuration that are taken at some values only.
    pub fixed: &'static [Fixed],
    /// Its own metrics, in order; `loss` is first.
    pub metrics: &'static [Metric],
    /// Metrics that it shares with its kin, behind its own.
    pub more_metrics: &'static [&'static [Metric]],
    /// What a configuration has that keeps it from teaching anything, or that it does not heed: sentences.
    pub idle: fn(&Values) -> Vec<String>,
    /// Under these fields, is a ranking one row of a batch? Else each of its pairs is, or a ranking is no row of its.
    pub whole: fn(&Values) -> bool,
    /// Rows to the method.
    pub build: Build,
}

impl MethodInfo {
    /// Its own fields and the shared ones that it has, with its defaults, in the order of forms.
    pub fn all_fields(&self) -> Vec<Field> {
        let has = |f: &&Field| !self.without.iter().any(|w| w.0 == f.name);
        let own = |f: &Field| match self.defaults.iter().find(|d| d.0 == f.name) {
            Some((_, default)) => Field { default: *default, ..*f },
            None => *f,
        };
        self.fields.iter().chain(shared::FIELDS.iter().filter(has)).map(own).collect()
    }

    /// Its own metrics and its kin's.
    pub fn own_metrics(&self) -> impl Iterator<Item = &'static Metric> + Clone {
        self.metrics.iter().chain(self.more_metrics.iter().copied().flatten())
    }

    /// All that an update reports.
    pub fn all_metrics(&self) -> impl Iterator<Item = &'static Metric> {
        self.own_metrics().chain(shared::METRICS)
    }

    /// Reads its configuration, PEFT's fields and the adapter's name apart.
    ///
    /// # Errors
    /// [`crate::Error::BadConfig`] that names the fields.
    pub fn read(&self, object: &Map<String, Json>) -> Result<Values> {
        let mut wrong = Wrong::default();
        let values = self.read_into(object, &mut wrong);
        wrong.done().map(|()| values)
    }

    /// The same, with what is wrong put to what else is.
    pub(in crate::tune) fn read_into(&self, object: &Map<String, Json>, wrong: &mut Wrong) -> Values {
        let known = Known { title: self.title, fields: &self.all_fields(), fixed: self.fixed, without: self.without };
        Values::read(&known, object, wrong)
    }
}
