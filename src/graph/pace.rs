//! Cuts replays into submits by time. Whatever draws the screen waits behind what a training has submitted, so one submit takes [`TARGET`] at most, as
//! far as a single dispatch does not take longer, and no more than two wait for the device. Timestamps would be exact and are often missing; the
//! times at which submits end say enough: they correct what each dispatch is believed to take, and the next replay is cut accordingly.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use super::Cost;
use crate::gpu::{Gpu, Passed};

/// Seconds of one submit: two of them are less than the 50 ms after which a page feels slow.
const TARGET: f64 = 0.016;

/// What a dispatch is believed to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief {
    seconds: f64,
    /// Learned, not only guessed from what it computes.
    measured: bool,
}

/// Beliefs of a program's dispatches, in order.
pub(super) type Beliefs = Rc<RefCell<Vec<Belief>>>;

impl Belief {
    /// From operations and bytes, on no device in particular: only proportions matter once something has been measured.
    pub fn guess(cost: Cost) -> Belief {
        Belief { seconds: 20e-6 + cost.flops / 100e9 + cost.bytes / 20e9, measured: false }
    }

    /// `scale` is what guesses have been worth.
    fn now(&self, scale: f64) -> f64 {
        self.seconds * if self.measured { 1.0 } else { scale }
    }
}

fn sum(costs: &[Belief], scale: f64) -> f64 {
    costs.iter().map(|c| c.now(scale)).sum()
}

/// How many of the next dispatches make one submit: what fits into `target` seconds, one at least.
fn cut(costs: &[Belief], scale: f64, most: usize, target: f64) -> usize {
    let mut sum = 0.0;
    let fits = |c: &&Belief| {
        sum += c.now(scale);
        sum <= target
    };
    costs.iter().take(most).take_while(fits).count().max(1)
}

/// By how much beliefs are corrected. One disturbed measurement (a tab in the background, a machine that slept) must not count for much against
/// earlier ones.
fn correction(believed: f64, took: f64, guessed: bool) -> f64 {
    let most = if guessed { 256.0 } else { 4.0 };
    (took / believed).clamp(1.0 / most, most)
}

/// Corrects costs by `factor`.
fn learn(costs: &mut [Belief], scale: f64, factor: f64) {
    for c in costs {
        // Never so small that later corrections cannot find back.
        *c = Belief { seconds: (c.now(scale) * factor).max(1e-6), measured: true };
    }
}

fn guessed(costs: &[Belief]) -> bool {
    costs.iter().any(|c| !c.measured)
}

/// One submit, or a few short ones, under way.
struct Flight {
    passed: Passed,
    begun: f64,
    costs: Beliefs,
    range: Range<usize>,
}

impl Flight {
    /// Seconds it is believed to take.
    fn seconds(&self, scale: f64) -> f64 {
        sum(&self.costs.borrow()[self.range.clone()], scale)
    }
}

/// What the programs of one training know together of the device's speed, and what they have submitted that has not ended.
pub struct Pace {
    /// Seconds that one submit may take.
    target: f64,
    flights: RefCell<VecDeque<Flight>>,
    /// When the last one known to have ended did.
    ended: Cell<f64>,
    /// Measured to guessed seconds: for dispatches that were never measured.
    scale: Cell<f64>,
}

impl Default for Pace {
    fn default() -> Self {
        Pace::aiming_at(TARGET)
    }
}

impl Pace {
    /// For submits of about so many seconds, in place of the 16 ms that a page can bear.
    pub fn aiming_at(target: f64) -> Pace {
        Pace { target, flights: RefCell::default(), ended: Cell::new(0.0), scale: Cell::new(1.0) }
    }

    /// How many of the next dispatches make one submit.
    pub(super) fn cut(&self, costs: &[Belief], most: usize) -> usize {
        cut(costs, self.scale.get(), most, self.target)
    }

    /// What `range` has been submitted of a program, up to now; short submits are measured together, so that a fast device reports few.
    /// True when they make one measurement, false when it waits for more.
    pub(super) fn submitted(&self, gpu: &Gpu, costs: &Beliefs, range: Range<usize>, begun: f64, last: bool) -> bool {
        let whole = last || sum(&costs.borrow()[range.clone()], self.scale.get()) >= self.target / 2.0;
        if whole {
            let flight = Flight { passed: gpu.passed(), begun, costs: costs.clone(), range };
            self.flights.borrow_mut().push_back(flight);
        }
        whole
    }

    /// Waits until the device has no more than one submit before it. Where all that is under way is short, nothing is waited for.
    pub(super) async fn room(&self, gpu: &Gpu) {
        loop {
            self.collect(None);
            let under_way: f64 = self.flights.borrow().iter().map(|f| f.seconds(self.scale.get())).sum();
            if under_way <= self.target {
                return;
            }
            let Some(mut first) = self.flights.borrow_mut().pop_front() else { return };
            let at = first.passed.wait(gpu).await;
            self.collect(Some((first, at)));
        }
    }

    /// Learns from what has ended. Several that were heard of together are one measurement: natively the host hears late, and then of all at once.
    fn collect(&self, waited: Option<(Flight, f64)>) {
        let mut flights = self.flights.borrow_mut();
        let (mut landed, mut end) = match waited {
            Some((flight, at)) => (vec![flight], at),
            None => (Vec::new(), 0.0),
        };
        while let Some(at) = flights.front_mut().and_then(|f| f.passed.ended()) {
            landed.extend(flights.pop_front());
            end = at.max(end);
        }
        let Some(first) = landed.first() else { return };
        let took = end - first.begun.max(self.ended.get());
        self.ended.set(end);
        let scale = self.scale.get();
        let guessed = landed.iter().any(|f| guessed(&f.costs.borrow()[f.range.clone()]));
        let factor = correction(landed.iter().map(|f| f.seconds(scale)).sum(), took, guessed);
        for f in &landed {
            learn(&mut f.costs.borrow_mut()[f.range.clone()], scale, factor);
        }
        if guessed {
            self.scale.set(scale * factor);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(seconds: &[f64]) -> Vec<Belief> {
        seconds.iter().map(|s| Belief { seconds: *s, measured: true }).collect()
    }

    #[test]
    fn a_submit_holds_what_fits() {
        assert_eq!(cut(&costs(&[0.0015; 100]), 1.0, 64, TARGET), 10);
        assert_eq!(cut(&costs(&[0.000_01; 100]), 1.0, 64, TARGET), 64);
        // What cannot be cut goes by itself, and nothing with it.
        assert_eq!(cut(&costs(&[1.0, 0.001]), 1.0, 64, TARGET), 1);
        assert_eq!(cut(&costs(&[0.001, 1.0]), 1.0, 64, TARGET), 1);
        assert_eq!(cut(&costs(&[0.001]), 1.0, 64, TARGET), 1);
        // Guesses are taken for as much as guesses have been worth.
        let guessed = [Belief { seconds: 0.0015, measured: false }; 100];
        assert_eq!((cut(&guessed, 0.5, 64, TARGET), cut(&guessed, 2.0, 64, TARGET)), (21, 5));
    }

    #[test]
    fn one_measurement_counts_for_so_much() {
        assert_eq!(correction(0.01, 0.02, false), 2.0);
        assert_eq!(correction(0.01, 3600.0, false), 4.0);
        assert_eq!(correction(0.01, 0.0, false), 0.25);
        assert_eq!(correction(0.01, 1.0, true), 100.0, "a guess may be far off");
        let mut c = costs(&[0.01, 1e-6]);
        learn(&mut c, 1.0, 0.25);
        assert_eq!((c[0].seconds, c[1].seconds), (0.0025, 1e-6));
        let mut c = [Belief { seconds: 0.01, measured: false }];
        learn(&mut c, 3.0, 2.0);
        assert!(!guessed(&c) && (c[0].seconds - 0.06).abs() < 1e-12);
    }

    /// Replays of a program whose dispatches take `truth`: submits of the last replay, as (seconds, dispatches).
    fn replays(truth: &[f64], guess: f64, rounds: usize) -> Vec<(f64, usize)> {
        let mut costs = vec![Belief { seconds: guess, measured: false }; truth.len()];
        let (mut scale, mut submits) = (1.0, Vec::new());
        for _ in 0..rounds {
            submits.clear();
            let mut at = 0;
            while at < truth.len() {
                let n = cut(&costs[at..], scale, 64, TARGET);
                let took: f64 = truth[at..at + n].iter().sum();
                let part = &mut costs[at..at + n];
                let fresh = guessed(part);
                let factor = correction(sum(part, scale), took, fresh);
                learn(part, scale, factor);
                scale *= if fresh { factor } else { 1.0 };
                submits.push((took, n));
                at += n;
            }
        }
        submits
    }

    #[test]
    fn slow_programs_are_cut_smaller() {
        for (truth, guess) in [(0.004, 1e-4), (0.0005, 0.01), (0.05, 1e-4)] {
            let submits = replays(&[truth; 300], guess, 4);
            for (took, n) in &submits {
                assert!(*n == 1 || *took <= 1.5 * TARGET, "{truth}: {took} s in {n} dispatches");
            }
            assert!(submits.len() as f64 <= 2.5 * (300.0 * truth / TARGET).max(1.0), "{truth}: {} submits", submits.len());
        }
        assert_eq!(replays(&[1e-6; 320], 1e-3, 6).len(), 5, "a fast device is cut by number");
        // A few that take long among many that do not: they end up alone.
        let mixed: Vec<f64> = (0..300).map(|i| if i % 50 == 20 { 0.1 } else { 0.0005 }).collect();
        for (took, n) in replays(&mixed, 1e-3, 12) {
            assert!(n == 1 || took <= 2.5 * TARGET, "{took} s in {n} dispatches");
        }
    }
}
