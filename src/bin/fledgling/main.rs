//! The native command line: `fledgling generate`, `tune`, `inspect`, `bench`, `logits`, `merge`, `quantize`, `tokenize`.

#[macro_use]
mod out;

mod args;
mod bench;
mod exit;
mod fields;
mod files;
mod generate;
mod inspect;
mod load;
mod logits;
mod merge;
mod quantize;
mod tokenize;
mod tune;
mod tune_rhythm;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    // What the library warns of is for a person, what its dependencies warn of is not.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error,fledgling=warn"))
        .format(|out, r| {
            let level = if r.level() == log::Level::Warn { "warning".into() } else { r.level().as_str().to_lowercase() };
            writeln!(out, "fledgling: {level}: {}", r.args())
        })
        .init();
    let run = async {
        match &cli.command {
            Command::Generate(a) => generate::run(&cli, a).await,
            Command::Tune(a) => tune::run(&cli, a).await,
            Command::Inspect(a) => inspect::run(a),
            Command::Bench(a) => bench::run(&cli, a).await,
            Command::Logits(a) => logits::run(&cli, a).await,
            Command::Merge(a) => merge::run(a),
            Command::Quantize(a) => quantize::run(a),
            Command::Tokenize(a) => tokenize::run(a),
        }
    };
    match pollster::block_on(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            note!("fledgling: error[{}]: {e}", e.code());
            ExitCode::from(exit::code(&e))
        }
    }
}
