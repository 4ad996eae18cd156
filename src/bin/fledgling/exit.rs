//! Exit codes. A file of its own so that `tests/cli.rs` can hold it against every error: a test inside the binary would have all of it compiled twice.

use fledgling::Error;

/// What a script can distinguish; `--help` lists them.
pub fn code(error: &Error) -> u8 {
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
