//! The native command line: `fledgling generate`, `chat`, `tune`, `plan`, `export`, `inspect`, `bench`, `logits`, `score`, `embed`, `fill-mask`,
//! `classify`, `translate`, `merge`, `quantize`, `tokenize`.

#[macro_use]
mod out;

mod args;
mod bench;
mod chat;
mod combine;
mod encode;
mod encode_args;
mod exit;
mod export;
mod fields;
mod files;
mod generate;
mod inspect;
mod interrupt;
mod load;
mod logits;
mod merge;
mod model_args;
mod plan;
mod quantize;
mod reward;
mod score;
mod search_args;
mod settings;
mod tokenize;
mod translate;
mod tune;
mod tune_rhythm;
mod units;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};
use fledgling::Error;
use serde_json::{Value, json};

use args::{Cli, Command};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Who asked for JSON reads JSON of wrong arguments, too.
            if e.use_stderr() && std::env::args().any(|a| a == "--json") {
                let said = e.to_string();
                let first = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
                say!("{}", error_record("usage", first, e.exit_code()));
            }
            e.exit()
        }
    };
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
            Command::Chat(a) => chat::run(&cli, a).await,
            Command::Tune(a) => tune::run(&cli, a).await,
            Command::Plan(a) => plan::run(&cli, a).await,
            Command::Export(a) => export::run(a),
            Command::Inspect(a) => inspect::run(a),
            Command::Bench(a) => bench::run(&cli, a).await,
            Command::Logits(a) => logits::run(&cli, a).await,
            Command::Score(a) => score::run(&cli, a).await,
            Command::Embed(a) => encode::embed(&cli, a).await,
            Command::FillMask(a) => encode::fill_mask(&cli, a).await,
            Command::Classify(a) => encode::classify(&cli, a).await,
            Command::Translate(a) => translate::run(&cli, a).await,
            Command::Merge(a) => merge::run(a),
            Command::Combine(a) => combine::run(a),
            Command::Quantize(a) => quantize::run(a),
            Command::Tokenize(a) => tokenize::run(a),
            Command::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(*shell, &mut Cli::command(), "fledgling", &mut script);
                say_part!("{}", String::from_utf8_lossy(&script));
                Ok(())
            }
        }
    };
    match pollster::block_on(run) {
        Ok(()) => ExitCode::SUCCESS,
        // Who was interrupted has said what there was to say.
        Err(Error::Aborted) => ExitCode::from(exit::code(&Error::Aborted)),
        Err(e) => {
            let status = exit::code(&e);
            if cli.command.json() {
                say!("{}", error_record(e.code(), &e.to_string(), status.into()));
            }
            note!("fledgling: error[{}]: {e}", e.code());
            ExitCode::from(status)
        }
    }
}

/// An error as `--json` tells it.
fn error_record(code: &str, message: &str, status: i32) -> Value {
    json!({"event": "error", "error": {"code": code, "message": message, "status": status}})
}
