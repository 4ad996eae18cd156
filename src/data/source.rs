//! The encoder's side of a batch for an encoder-decoder.

use super::batch::{Batch, Sources, bucket};
use super::example::Example;

impl Batch {
    /// Adds what the encoder reads of each of the examples that were laid out: one after the other where those are, else side by side.
    pub fn add_sources(&mut self, examples: &[&Example]) {
        let lens: Vec<usize> = examples.iter().map(|e| e.source.len()).collect();
        let one_row = self.shape.batch == 1;
        let len = bucket(if one_row { lens.iter().sum() } else { lens.iter().copied().max().unwrap_or(0) });
        let n = self.shape.batch * len;
        let mut s = Sources { ids: vec![0; n], positions: vec![0; n], spans: vec![0; 2 * n], cross: vec![0; 2 * self.ids.len()] };
        // Where each example's tokens begin, of the encoder and of the decoder.
        let (mut source, mut own) = (0, 0);
        for (i, e) in examples.iter().enumerate() {
            if !one_row {
                (source, own) = (i * len, i * self.shape.len);
            }
            let span = [(source % len.max(1)) as u32, (source % len.max(1) + e.source.len()) as u32];
            for (t, id) in e.source.iter().enumerate() {
                s.ids[source + t] = *id;
                s.positions[source + t] = t as u32;
                s.spans[2 * (source + t)..][..2].copy_from_slice(&span);
            }
            for t in own..own + e.ids.len() {
                s.cross[2 * t..][..2].copy_from_slice(&span);
            }
            source += e.source.len();
            own += e.ids.len();
        }
        self.shape.source = len;
        self.sources = s;
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::Sight;
    use super::*;

    fn example(source: &[u32], ids: &[u32]) -> Example {
        Example { source: source.to_vec(), ..Example::in_place(ids.to_vec(), ids, Vec::new()) }
    }

    #[test]
    fn tokens_see_their_own_source() {
        let (a, b) = (example(&[7, 8, 9], &[1, 2]), example(&[5], &[3, 4, 6]));
        let mut batch = Batch::new(&[&a, &b], Sight::Causal, None);
        batch.add_sources(&[&a, &b]);
        assert_eq!((batch.shape.batch, batch.shape.source), (1, 16));
        assert_eq!(batch.sources.ids[..5], [7, 8, 9, 5, 0]);
        assert_eq!(batch.sources.positions[..5], [0, 1, 2, 0, 0]);
        assert_eq!(batch.sources.spans[..10], [0, 3, 0, 3, 0, 3, 3, 4, 0, 0]);
        assert_eq!(batch.sources.cross[..12], [0, 3, 0, 3, 3, 4, 3, 4, 3, 4, 0, 0]);
    }

    #[test]
    fn side_by_side_each_row_has_one() {
        let (a, b) = (example(&[7; 20], &[1; 16]), example(&[5; 3], &[3; 15]));
        let mut batch = Batch::new(&[&a, &b], Sight::Causal, None);
        batch.add_sources(&[&a, &b]);
        assert_eq!((batch.shape.batch, batch.shape.len, batch.shape.source), (2, 16, 32));
        assert_eq!((&batch.sources.ids[19..21], &batch.sources.ids[32..36]), (&[7, 0][..], &[5, 5, 5, 0][..]));
        assert_eq!((&batch.sources.cross[..2], &batch.sources.cross[32..34]), (&[0, 20][..], &[0, 3][..]));
        assert_eq!(batch.sources.cross[62..], [0, 0]);
    }
}
