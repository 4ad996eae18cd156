//! One answer as it grows: its tokens, its text, and where it ends.

use super::options::{Event, FinishReason};
use crate::adapters::LoadedModel;
use crate::tokenizer::{DecodeStream, StopMatcher};

/// See the module.
pub struct Row {
    decode: DecodeStream,
    stop: StopMatcher,
    /// Looks for stop strings with control tokens in them, which give no text.
    control: Option<(DecodeStream, StopMatcher)>,
    pub text: String,
    pub tokens: Vec<u32>,
    /// Of tokens that were chosen on the host: ln p of each.
    pub logps: Vec<f32>,
    /// Of those, the likeliest tokens in each one's place, if they were asked for.
    pub top: Vec<Vec<(u32, f32)>>,
    /// Of a beam.
    pub score: Option<f32>,
    pub finished: Option<FinishReason>,
}

impl Row {
    /// One that ends before any of some strings.
    pub fn new(model: &LoadedModel, stop_strings: &[String]) -> Row {
        let tokenizer = model.tokenizer.as_ref();
        let has_control = |s: &String| tokenizer.is_some_and(|t| t.encode_plain(s, true).iter().any(|id| t.is_special(*id)));
        let (control, plain): (Vec<String>, Vec<String>) = stop_strings.iter().cloned().partition(has_control);
        Row {
            decode: DecodeStream::new(true),
            stop: StopMatcher::new(plain),
            control: (!control.is_empty()).then(|| (DecodeStream::new(false), StopMatcher::new(control))),
            text: String::new(),
            tokens: Vec::new(),
            logps: Vec::new(),
            top: Vec::new(),
            score: None,
            finished: None,
        }
    }

    /// One more token. `ends`: it ends the answer; `limit`: most tokens of one.
    pub fn push(&mut self, index: usize, model: &LoadedModel, id: u32, ends: bool, limit: usize, events: &mut Vec<Event>) {
        self.tokens.push(id);
        if ends {
            return self.end(index, FinishReason::Stop, events);
        }
        if let Some(t) = &model.tokenizer {
            if let Some((decode, stop)) = &mut self.control {
                stop.push(&decode.push(t, id));
                if stop.stopped() {
                    return self.end(index, FinishReason::Stop, events);
                }
            }
            let piece = self.decode.push(t, id);
            let text = self.stop.push(&piece);
            self.emit(index, text, events);
        }
        if self.stop.stopped() {
            self.end(index, FinishReason::Stop, events);
        } else if self.tokens.len() >= limit {
            self.end(index, FinishReason::Length, events);
        }
    }

    fn emit(&mut self, index: usize, text: String, events: &mut Vec<Event>) {
        if !text.is_empty() {
            self.text.push_str(&text);
            events.push(Event::Text { index, text });
        }
    }

    pub fn end(&mut self, index: usize, reason: FinishReason, events: &mut Vec<Event>) {
        if !self.stop.stopped() {
            let piece = self.decode.finish();
            let mut text = self.stop.push(&piece);
            text.push_str(&self.stop.finish());
            self.emit(index, text, events);
        }
        self.finished = Some(reason);
        events.push(Event::Done { index, reason });
    }
}
