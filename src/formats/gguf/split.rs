//! A model in several GGUF files: `name-00001-of-00003.gguf`. Each file says which part it is (`split.no`, from 0), of how many (`split.count`),
//! and how many tensors there are in all (`split.tensors.count`); the first has everything else that the metadata of a model says.
use crate::error::{Error, Result};
use crate::formats::container::{Container, Foreign, Split, TensorInfo};
use crate::formats::metadata::Metadata;

/// Most parts of a model.
pub const MAX_PARTS: usize = 1024;

/// Which part a file's metadata says it is; nothing for a file that is whole.
///
/// # Errors
/// [`Error::BadFile`] for numbers that cannot be.
pub(super) fn of(metadata: &Metadata) -> Result<Option<Split>> {
    let Some(count) = metadata.opt_u64("split.count")?.filter(|n| *n > 1) else { return Ok(None) };
    let no = metadata.u64("split.no")?;
    if count > MAX_PARTS as u64 || no >= count {
        let most = MAX_PARTS;
        return Err(Error::file(
            &metadata.file,
            format!("is part {} of {count}, expected a part from 1 on of at most {most}", no.saturating_add(1)),
        ));
    }
    Ok(Some(Split { no: no as usize, count: count as usize, tensors: metadata.opt_u64("split.tensors.count")? }))
}

/// The names of all parts, where `name` is that of one of them: `…-00002-of-00003.gguf`.
pub fn part_names(name: &str) -> Option<Vec<String>> {
    let stem = name.strip_suffix(".gguf")?;
    let number = |text: &str| (text.len() == 5 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<usize>().ok()).flatten();
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (base, no) = rest.rsplit_once('-')?;
    let (no, count) = (number(no)?, number(count)?);
    ((1..=count).contains(&no) && count <= MAX_PARTS).then(|| (1..=count).map(|i| format!("{base}-{i:05}-of-{count:05}.gguf")).collect())
}

/// The headers of all parts, gathered in any order.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    found: Vec<Option<Container>>,
}

impl Parts {
    /// Adds a part.
    ///
    /// # Errors
    /// [`Error::BadFile`] where it is no part, is there twice, or belongs to another model.
    pub fn add(&mut self, part: Container) -> Result<()> {
        let file = part.file.clone();
        let Some(Split { no, count, tensors }) = part.split else {
            return Err(Error::file(file, "is no part of a split GGUF: it says nothing of a split.count"));
        };
        if self.found.is_empty() {
            self.found.resize(count, None);
        }
        if count != self.found.len() {
            let others = self.found.len();
            return Err(Error::file(file, format!("is part {} of {count}, the other files are of {others} parts", no + 1)));
        }
        if let Some(other) = self.found.iter().flatten().find(|o| o.split.and_then(|s| s.tensors) != tensors) {
            let (here, there) = (tensors.unwrap_or(0), other.split.and_then(|s| s.tensors).unwrap_or(0));
            return Err(Error::file(file, format!("is of a model of {here} tensors, {} of one of {there}", other.file)));
        }
        if let Some(other) = &self.found[no] {
            return Err(Error::file(file, format!("is part {} of {count}, and so is {}", no + 1, other.file)));
        }
        self.found[no] = Some(part);
        Ok(())
    }

    /// Whether none has come.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// All parts as one file without bytes: the first one's metadata, everyone's tensors.
    ///
    /// # Errors
    /// [`Error::BadFile`] for parts that are missing, tensors that are there twice, and another number of them than the files claim.
    pub fn whole(&self) -> Result<Container> {
        let missing: Vec<String> = self.found.iter().enumerate().filter(|(_, f)| f.is_none()).map(|(i, _)| (i + 1).to_string()).collect();
        let name = self.found.iter().flatten().next().map_or("model", |c| c.file.as_str());
        if !missing.is_empty() || self.found.is_empty() {
            let (list, count) = (missing.join(", "), self.found.len());
            return Err(Error::file(name, format!("is of a model in {count} parts, and part {list} is missing")));
        }
        let all = || self.found.iter().flatten();
        let first = all().next().expect("checked above");
        let mut tensors: Vec<TensorInfo> = Vec::new();
        let mut at = 0;
        for part in all() {
            // Places of their own, so that they do not overlap: they are those of no file.
            for t in &part.tensors {
                tensors.push(TensorInfo { offset: at, ..t.clone() });
                at += t.bytes;
            }
        }
        let skipped: Vec<Foreign> = all().flat_map(|c| c.skipped.clone()).collect();
        if let Some(claimed) = first.split.and_then(|s| s.tensors).filter(|n| *n != (tensors.len() + skipped.len()) as u64) {
            let have = tensors.len() + skipped.len();
            return Err(Error::file(name, format!("is of a model of {claimed} tensors, its parts have {have}")));
        }
        Container::new(&first.file, first.kind, first.metadata.clone(), tensors, skipped, 0..0, None)
    }
}

#[cfg(test)]
mod tests {
    use super::part_names;

    #[test]
    fn names_of_parts() {
        let want: Vec<String> = (1..=3).map(|i| format!("a-of-b-0000{i}-of-00003.gguf")).collect();
        assert_eq!(part_names("a-of-b-00002-of-00003.gguf"), Some(want));
        for no in
            ["a.gguf", "a-00000-of-00003.gguf", "a-00004-of-00003.gguf", "a-1-of-3.gguf", "a-00001-of-00003.bin", "a-00001-of-99999.gguf"]
        {
            assert_eq!(part_names(no), None, "{no}");
        }
    }
}
