//! The native command line: `fledgling generate`, `tune`, `inspect`, `bench`, `logits`, `merge`.

#[macro_use]
mod out;

mod args;
mod bench;
mod files;
mod generate;
mod inspect;
mod load;
mod logits;
mod merge;
mod tune;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
use fledgling::Error;

/// What a script can distinguish; `--help` lists them.
fn exit_code(error: &Error) -> u8 {
    match error.code() {
        "bad-config" => 2,
        "webgpu-unavailable" => 4,
        "device-lost" | "out-of-memory" | "gpu" => 5,
        "not-finite" => 6,
        "aborted" => 130,
        "busy" => 1,
        // Files, rows, adapters, templates, contexts: something that was given cannot be used.
        _ => 3,
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).init();
    let run = async {
        match &cli.command {
            Command::Generate(a) => generate::run(&cli, a).await,
            Command::Tune(a) => tune::run(&cli, a).await,
            Command::Inspect(a) => inspect::run(a),
            Command::Bench(a) => bench::run(&cli, a).await,
            Command::Logits(a) => logits::run(&cli, a).await,
            Command::Merge(a) => merge::run(a),
        }
    };
    match pollster::block_on(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            note!("fledgling: error[{}]: {e}", e.code());
            ExitCode::from(exit_code(&e))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What no test can provoke on every machine is at least what `--help` says.
    #[test]
    fn exit_codes_are_as_documented() {
        let of = |e: Error| exit_code(&e);
        let text = String::new;
        assert_eq!(of(Error::config("field", "x")), 2);
        for e in [
            Error::file("f", "x"),
            Error::BadAdapter(text()),
            Error::BadRow { row: 1, message: text() },
            Error::EmptyDataset(text()),
            Error::ContextOverflow { needed: 2, available: 1 },
            Error::Template(text()),
            Error::Io { path: text(), message: text() },
            Error::UnsupportedArchitecture { found: text(), supported: text() },
        ] {
            assert_eq!(of(e), 3);
        }
        assert_eq!(of(Error::NoAdapter(text())), 4);
        for e in [Error::DeviceLost(text()), Error::OutOfMemory(text()), Error::Gpu { what: text(), message: text() }] {
            assert_eq!(of(e), 5);
        }
        assert_eq!(of(Error::NotFinite(text())), 6);
        assert_eq!(of(Error::Busy(text())), 1);
        assert_eq!(of(Error::Aborted), 130);
    }
}
