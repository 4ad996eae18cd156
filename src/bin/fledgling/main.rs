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

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};

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
