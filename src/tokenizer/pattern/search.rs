//! Runs a compiled pattern over a text.
use super::class::Class;
use super::parse::{Kind, Place};

/// Instructions that a pattern may come to: the memory of failures takes two bits for each and for each byte of the text.
const MAX_INSTRUCTIONS: usize = 1024;

#[derive(Clone, Copy, Debug)]
pub enum Inst {
    /// A character of a class.
    One(u16),
    /// Several.
    Run {
        class: u16,
        min: u32,
        max: Option<u32>,
        kind: Kind,
    },
    /// On at the first; where that fails, at the second.
    Split(usize, usize),
    Jump(usize),
    At(Place),
    /// The instructions behind it must (not) match here, up to their `Accept`; then on at `next`.
    Look {
        ahead: bool,
        negative: bool,
        next: usize,
    },
    Accept,
}

#[derive(Debug, Default)]
pub struct Program {
    insts: Vec<Inst>,
    classes: Vec<Class>,
}

impl Program {
    pub fn len(&self) -> usize {
        self.insts.len()
    }

    pub fn push(&mut self, inst: Inst) -> Result<(), String> {
        if self.insts.len() >= MAX_INSTRUCTIONS {
            return Err(format!("it comes to more than {MAX_INSTRUCTIONS} instructions"));
        }
        self.insts.push(inst);
        Ok(())
    }

    pub fn set(&mut self, at: usize, inst: Inst) {
        self.insts[at] = inst;
    }

    /// The number of a class.
    pub fn class(&mut self, class: &Class) -> u16 {
        let found = self.classes.iter().position(|c| c == class);
        found.unwrap_or_else(|| {
            self.classes.push(class.clone());
            self.classes.len() - 1
        }) as u16
    }
}

/// All matches, see [`super::Pattern::matches`].
pub fn all(fast: &Program, bounded: &Program, text: &str) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    let mut search = Search { program: fast, text, steps: 0, memory: None, stack: Vec::new() };
    let patience = 4096 + 64 * text.len() as u64;
    let mut at = 0;
    let mut last_end = None;
    while at <= text.len() {
        if search.memory.is_none() && search.steps > patience {
            search.program = bounded;
            search.memory = Some(Memory::new(bounded.len(), text.len()));
        }
        let found = search.from(0, at, false, patience);
        if search.memory.is_none() && search.steps > patience {
            // It gave up: once more, with the memory.
            continue;
        }
        match found {
            Some(end) if end > at || last_end != Some(at) => {
                out.push((at, end));
                last_end = Some(end);
                // Behind an empty match, the next one begins a character later.
                at = if end > at { end } else { at + char_at(text, at).map_or(1, char::len_utf8) };
            }
            _ => at += char_at(text, at).map_or(1, char::len_utf8),
        }
    }
    out
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next()
}

fn char_before(text: &str, at: usize) -> Option<char> {
    text[..at].chars().next_back()
}

/// Which instructions have been tried where, and to what end.
struct Memory {
    width: usize,
    /// Tried: unless it is on the way that is being followed, it failed.
    tried: Vec<u64>,
    /// Known to reach the end of its look-around.
    reached: Vec<u64>,
    /// The way that is being followed.
    way: Vec<usize>,
}

impl Memory {
    fn new(insts: usize, len: usize) -> Memory {
        let words = (insts * (len + 1)).div_ceil(64);
        Memory { width: insts, tried: vec![0; words], reached: vec![0; words], way: Vec::new() }
    }
}

fn bit(bits: &[u64], i: usize) -> bool {
    bits[i / 64] >> (i % 64) & 1 != 0
}

/// A choice that is left.
enum Choice {
    Go {
        pc: usize,
        at: usize,
        way: usize,
    },
    /// Characters of a run that can be given back, one by one down to `least`.
    Shorter {
        pc: usize,
        at: usize,
        least: usize,
    },
    /// More characters for a lazy run.
    Longer {
        pc: usize,
        at: usize,
        class: u16,
        left: u32,
    },
}

struct Search<'a> {
    program: &'a Program,
    text: &'a str,
    steps: u64,
    memory: Option<Memory>,
    stack: Vec<Choice>,
}

impl Search<'_> {
    /// The end of a match of the instructions from `pc` on, beginning at `at`.
    fn from(&mut self, pc: usize, at: usize, inside: bool, patience: u64) -> Option<usize> {
        let base = self.stack.len();
        let way = self.memory.as_ref().map_or(0, |m| m.way.len());
        let mut next = Some((pc, at));
        loop {
            let Some((mut pc, mut at)) = next.take() else {
                if self.stack.len() == base {
                    if let Some(m) = &mut self.memory {
                        m.way.truncate(way);
                    }
                    return None;
                }
                next = self.another();
                continue;
            };
            // Follows one way until it fails or arrives.
            let arrived = loop {
                self.steps += 1;
                if self.memory.is_none() && self.steps > patience {
                    self.stack.truncate(base);
                    return None;
                }
                if let Some(m) = &mut self.memory {
                    let i = at * m.width + pc;
                    if inside && bit(&m.reached, i) {
                        break Some(at);
                    }
                    if bit(&m.tried, i) {
                        break None;
                    }
                    m.tried[i / 64] |= 1 << (i % 64);
                    m.way.push(i);
                }
                match self.program.insts[pc] {
                    Inst::Accept => break Some(at),
                    Inst::Jump(to) => pc = to,
                    Inst::One(class) => match char_at(self.text, at).filter(|c| self.program.classes[class as usize].has(*c)) {
                        Some(c) => (pc, at) = (pc + 1, at + c.len_utf8()),
                        None => break None,
                    },
                    Inst::Split(first, second) => {
                        let way = self.memory.as_ref().map_or(0, |m| m.way.len());
                        self.stack.push(Choice::Go { pc: second, at, way });
                        pc = first;
                    }
                    Inst::Run { class, min, max, kind } => {
                        let (least, most) = self.run(class, at, min, if kind == Kind::Lazy { Some(min) } else { max });
                        let Some(least) = least else { break None };
                        match kind {
                            Kind::Greedy if most > least => self.stack.push(Choice::Shorter { pc: pc + 1, at: most, least }),
                            Kind::Lazy if max.is_none_or(|m| m > min) => {
                                let left = max.map_or(u32::MAX, |m| m - min);
                                self.stack.push(Choice::Longer { pc: pc + 1, at: most, class, left });
                            }
                            _ => {}
                        }
                        (pc, at) = (pc + 1, most);
                    }
                    Inst::At(place) if self.is_at(place, at) => pc += 1,
                    Inst::At(_) => break None,
                    Inst::Look { ahead, negative, next } => {
                        let found = if ahead {
                            self.from(pc + 1, at, true, patience).is_some()
                        } else {
                            let before = char_before(self.text, at);
                            before.is_some_and(|c| self.from(pc + 1, at - c.len_utf8(), true, patience).is_some())
                        };
                        if found == negative {
                            break None;
                        }
                        pc = next;
                    }
                }
            };
            if let Some(end) = arrived {
                self.stack.truncate(base);
                if let Some(m) = &mut self.memory {
                    // What led here has not failed.
                    for i in m.way.drain(way..) {
                        m.tried[i / 64] &= !(1 << (i % 64));
                        if inside {
                            m.reached[i / 64] |= 1 << (i % 64);
                        }
                    }
                }
                return Some(end);
            }
        }
    }

    /// Takes up the last choice that was left.
    fn another(&mut self) -> Option<(usize, usize)> {
        self.steps += 1;
        match self.stack.pop()? {
            Choice::Go { pc, at, way } => {
                if let Some(m) = &mut self.memory {
                    m.way.truncate(way);
                }
                Some((pc, at))
            }
            Choice::Shorter { pc, at, least } => {
                let at = at - char_before(self.text, at).map_or(1, char::len_utf8);
                if at > least {
                    self.stack.push(Choice::Shorter { pc, at, least });
                }
                Some((pc, at))
            }
            Choice::Longer { pc, at, class, left } => {
                let c = char_at(self.text, at).filter(|c| self.program.classes[class as usize].has(*c))?;
                let at = at + c.len_utf8();
                if left > 1 {
                    self.stack.push(Choice::Longer { pc, at, class, left: left - 1 });
                }
                Some((pc, at))
            }
        }
    }

    /// Where a run of a class may end at the least (none: too few) and at the most.
    fn run(&mut self, class: u16, at: usize, min: u32, max: Option<u32>) -> (Option<usize>, usize) {
        let class = &self.program.classes[class as usize];
        let mut least = (min == 0).then_some(at);
        let mut end = at;
        let mut n = 0;
        for c in self.text[at..].chars() {
            if max == Some(n) || !class.has(c) {
                break;
            }
            n += 1;
            end += c.len_utf8();
            if n == min {
                least = Some(end);
            }
        }
        self.steps += u64::from(n / 4);
        (least, end)
    }

    fn is_at(&self, place: Place, at: usize) -> bool {
        let (before, after) = (char_before(self.text, at), char_at(self.text, at));
        let word = |c: Option<char>| c.is_some_and(|c| super::class::Item::Word.has(c));
        match place {
            Place::LineStart => before.is_none() || (before == Some('\n') && after.is_some()),
            Place::LineEnd => after.is_none_or(|c| c == '\n'),
            Place::Start => before.is_none(),
            Place::End => after.is_none(),
            Place::LastEnd => after.is_none() || &self.text[at..] == "\n",
            Place::WordEdge => word(before) != word(after),
            Place::NoWordEdge => word(before) == word(after),
        }
    }
}
