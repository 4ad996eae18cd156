//! What SentencePiece does before and behind its pieces: a map of characters, and `▁` for spaces.
use super::charsmap::Charsmap;
use super::decode::{self, Decoder};
use super::normalize::Normalizer;
use super::pattern::Pattern;
use super::pretokenize::{Behavior, Prepend, Step};

/// How a text gets to its pieces.
#[derive(Clone, Debug)]
pub struct Spaces {
    /// Bytes of the map of characters; empty for none.
    pub charsmap: Vec<u8>,
    /// `▁` comes before a text.
    pub prefix: bool,
    /// Several spaces are one, and none at either end.
    pub collapse: bool,
}

impl Spaces {
    /// The map as a normalizer, and the spaces that go.
    ///
    /// # Errors
    /// A sentence about a map that is none.
    pub fn normalizers(&self) -> Result<Vec<Normalizer>, String> {
        let mut out = Vec::new();
        if !self.charsmap.is_empty() {
            out.push(Normalizer::Charsmap(Charsmap::new(&self.charsmap)?));
        }
        if self.collapse {
            let pattern = Pattern::new(" {2,}").expect("one of our own");
            out.extend([Normalizer::Strip { left: true, right: true }, Normalizer::Replace { pattern, content: " ".into() }]);
        }
        Ok(out)
    }

    /// The steps of a Unigram model: normalizers, pre-tokenizer, decoder.
    ///
    /// # Errors
    /// A sentence about a map that is none.
    pub fn steps(&self, bytes: bool) -> Result<(Vec<Normalizer>, Vec<Step>, Decoder), String> {
        let (sign, split) = ('▁', |pattern, behavior| Step::Split { pattern, behavior, invert: false });
        let mut normalizers = self.normalizers()?;
        let mut pre = Vec::new();
        let prepend = if self.prefix { Prepend::Always } else { Prepend::Never };
        if self.prefix && self.collapse {
            // As the files of T5 and XLM-R say it: words are cut at white space, and each gets its sign.
            normalizers.truncate(usize::from(!self.charsmap.is_empty()));
            pre.push(split(Pattern::new(r"\s").expect("one of our own"), Behavior::Removed));
            pre.push(Step::Metaspace { sign, prepend });
            pre.push(split(Pattern::literal("▁"), Behavior::MergedWithNext));
        } else {
            pre.push(Step::Metaspace { sign, prepend });
        }
        let decoder = if bytes {
            let replace = decode::Step::Replace { pattern: Pattern::literal("▁"), literal: Some("▁".into()), content: " ".into() };
            let strip = self.prefix.then_some(decode::Step::Strip { content: ' ', start: 1, stop: 0 });
            [replace, decode::Step::ByteFallback, decode::Step::Fuse].into_iter().chain(strip).collect()
        } else {
            vec![decode::Step::Metaspace { sign, strips: self.prefix }]
        };
        Ok((normalizers, pre, Decoder::new(decoder)?))
    }
}
