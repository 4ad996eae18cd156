//! Every parser over mutated files: none may panic, take more than two seconds, or take memory for what a file merely claims.
//!
//!     cargo test --test fuzz                          all targets in FUZZ_SECONDS (60) together, from a fixed seed
//!     make fuzz                                       ten minutes each, from another seed every time
//!     FUZZ_TARGETS=gguf,jsonl FUZZ_SEED=7 cargo test --test fuzz
//!     FUZZ_CASE=FILE FUZZ_TARGETS=gguf cargo test --test fuzz     one input, as it was kept
//!
//! Inputs are the fixtures and what lies in `corpus/<target>/`. One that fails is written to `target/fuzz/<target>-<hash>`; once it is mended, it moves
//! into the corpus, which is tried first each time.
#![cfg(not(target_arch = "wasm32"))]

mod memory;
mod mutate;
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use mutate::{Rng, mutated};
use targets::{TARGETS, Target};

#[global_allocator]
static ALLOCATOR: memory::Counting = memory::Counting;

/// A case may not take longer.
const LONGEST: Duration = Duration::from_secs(2);
/// What never ends is ended then, and kept.
const HANGS: Duration = Duration::from_secs(30);

/// What is being tried, for whoever watches: the target, the input, since when.
static UNDER_WAY: Mutex<Option<(&str, Vec<u8>, Instant)>> = Mutex::new(None);

/// Where the last panic was.
static PANICKED_AT: Mutex<String> = Mutex::new(String::new());

fn folder(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn variable<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Keeps an input that failed.
fn keep(target: &str, input: &[u8]) -> PathBuf {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    let at = folder("target/fuzz").join(format!("{target}-{hash:016x}"));
    let _ = fs::create_dir_all(folder("target/fuzz"));
    let _ = fs::write(&at, input);
    at
}

/// Ends the program where a case does not end.
fn watch() {
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_secs(1));
            let guard = UNDER_WAY.lock().unwrap_or_else(|e| e.into_inner());
            if let Some((target, input, _)) = guard.as_ref().filter(|u| u.2.elapsed() > HANGS) {
                println!("FAIL {target}: does not end; kept as {}", keep(target, input).display());
                println!("0 passed, 1 failed");
                std::process::exit(1);
            }
        }
    });
}

/// Tries one input. What was wrong, if anything.
fn try_one(target: &Target, input: &[u8]) -> Option<String> {
    let run = || {
        *UNDER_WAY.lock().unwrap_or_else(|e| e.into_inner()) = Some((target.name, input.to_vec(), Instant::now()));
        let begin = Instant::now();
        let counted = memory::start();
        let ended = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
        let used = counted.end();
        let took = begin.elapsed();
        *UNDER_WAY.lock().unwrap_or_else(|e| e.into_inner()) = None;
        (ended, used, took)
    };
    let (ended, used, mut took) = run();
    if let Err(panic) = ended {
        let said = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
        let at = PANICKED_AT.lock().unwrap_or_else(|e| e.into_inner()).clone();
        return Some(format!("panics: {}{at}", said.unwrap_or_default()));
    }
    if took > LONGEST {
        // The machine may have been busy: twice is no accident.
        took = took.min(run().2);
    }
    if took > LONGEST {
        return Some(format!("takes {:.1} s", took.as_secs_f64()));
    }
    let most = target.factor * input.len() + target.slack;
    (used > most).then(|| format!("takes {used} bytes of memory for a file of {}, at most {most} are in order", input.len()))
}

/// The inputs that a target begins with.
fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder("tests/fuzz/corpus").join(target.name))
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default();
    files.sort();
    let kept = files.iter().filter_map(|f| fs::read(f).ok());
    kept.chain((target.seeds)()).collect()
}

/// Runs a target until its time is over. How many inputs were tried, and what failed.
fn run(target: &Target, time: Duration, rng: &mut Rng) -> (u64, Option<String>) {
    let seeds = corpus(target);
    assert!(!seeds.is_empty(), "{} has no inputs", target.name);
    let begin = Instant::now();
    let mut tried = 0;
    for seed in &seeds {
        tried += 1;
        if let Some(why) = try_one(target, seed) {
            return (tried, Some(format!("{why}; kept as {}", keep(target.name, seed).display())));
        }
    }
    while begin.elapsed() < time {
        let input = mutated(&seeds, target.kind, rng);
        tried += 1;
        if let Some(why) = try_one(target, &input) {
            let small = smaller(target, input);
            return (tried, Some(format!("{why}; kept as {}", keep(target.name, &small).display())));
        }
    }
    (tried, None)
}

/// A failing input with pieces left out that it does not need, where that is quick.
fn smaller(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let begin = Instant::now();
    let mut piece = input.len() / 2;
    while piece > 0 && begin.elapsed() < Duration::from_secs(20) {
        let mut at = 0;
        while at < input.len() && begin.elapsed() < Duration::from_secs(20) {
            let mut without = input.clone();
            without.drain(at..(at + piece).min(input.len()));
            match try_one(target, &without) {
                Some(_) => input = without,
                None => at += piece,
            }
        }
        piece /= 2;
    }
    input
}

fn main() {
    let wanted = std::env::var("FUZZ_TARGETS").unwrap_or_default();
    let chosen: Vec<&Target> = TARGETS.iter().filter(|t| wanted.is_empty() || wanted.split(',').any(|w| w == t.name)).collect();
    assert!(!chosen.is_empty(), "FUZZ_TARGETS: known are {}", TARGETS.iter().map(|t| t.name).collect::<Vec<_>>().join(", "));
    // Panics are counted, not printed a thousand times.
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        *PANICKED_AT.lock().unwrap_or_else(|e| e.into_inner()) = at;
    }));
    watch();
    if let Ok(file) = std::env::var("FUZZ_CASE") {
        let input = fs::read(&file).unwrap_or_else(|e| panic!("{file}: {e}"));
        let failed =
            chosen.iter().filter_map(|t| Some((t.name, try_one(t, &input)?))).inspect(|(t, why)| println!("FAIL {t}: {why}")).count();
        println!("{} passed, {failed} failed", chosen.len() - failed);
        std::process::exit(i32::from(failed > 0));
    }
    let each = variable("FUZZ_EACH", variable("FUZZ_SECONDS", 60.0) / chosen.len() as f64);
    let seed = variable("FUZZ_SEED", 1u64);
    let mut failed = 0;
    for target in &chosen {
        let mut rng = Rng::new(seed ^ (target.name.len() as u64 * 0x9e37_79b9));
        let begin = Instant::now();
        let (tried, why) = run(target, Duration::from_secs_f64(each), &mut rng);
        match why {
            None => println!("ok {}: {tried} inputs ({:.1} s)", target.name, begin.elapsed().as_secs_f64()),
            Some(why) => {
                failed += 1;
                println!("FAIL {}: {why} (seed {seed}, input {tried})", target.name);
            }
        }
    }
    println!("{} passed, {failed} failed", chosen.len() - failed);
    std::process::exit(i32::from(failed > 0));
}
