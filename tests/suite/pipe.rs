//! The command line with a reader that has seen enough.

use std::process::{Command, Stdio};

/// `fledgling … | head` ends without a word, in every form of output.
#[test]
fn a_closed_pipe_is_no_error() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/models/llama_gguf/model.gguf");
    let generate = ["--device", "cpu", "generate", "--model", model, "--prompt-ids", "3,4,5", "--max-new-tokens", "3"];
    for args in [&["inspect", model][..], &["inspect", model, "--json"], &generate] {
        // Nobody has the other end.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let out = Command::new(env!("CARGO_BIN_EXE_fledgling")).args(args).stdout(writer).stderr(Stdio::piped()).output().expect("it runs");
        let errors = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(141), "{args:?}: {errors}");
        assert!(!errors.contains("panicked") && !errors.contains("error["), "{args:?}: {errors}");
    }
}
