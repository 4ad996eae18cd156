//! Why a template was not rendered.

/// What is wrong and where.
#[derive(Debug)]
pub(super) struct Fault {
    pub what: String,
    /// 0 while it is not known.
    pub line: u32,
    /// The template's own words, from `raise_exception`.
    pub raised: bool,
}

pub(super) type Res<T> = Result<T, Box<Fault>>;

impl Fault {
    pub fn new(what: impl Into<String>) -> Box<Self> {
        Self::boxed(what.into(), false)
    }

    /// Errors are made in hundreds of places.
    #[inline(never)]
    fn boxed(what: String, raised: bool) -> Box<Self> {
        Box::new(Fault { what, line: 0, raised })
    }

    pub fn raised(what: impl Into<String>) -> Box<Self> {
        Self::boxed(what.into(), true)
    }

    /// With the line, where none is known yet.
    pub fn at(mut self: Box<Self>, line: u32) -> Box<Self> {
        if self.line == 0 {
            self.line = line;
        }
        self
    }

    /// With what was being done in front.
    pub fn within(mut self: Box<Self>, what: std::fmt::Arguments) -> Box<Self> {
        // What has failed inside of many others is told by the innermost.
        if !self.raised && self.what.len() < 400 {
            self.what = format!("{what}: {}", self.what);
        }
        self
    }
}

/// `Err` with a sentence.
pub(super) fn fail<T>(what: impl Into<String>) -> Res<T> {
    Err(Fault::new(what))
}
