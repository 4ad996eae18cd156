//! Texts as files have them: UTF-8, maybe behind a byte order mark; and what stands there in place of what was expected.
use crate::error::{Error, Result};

/// A text without the byte order mark that some editors put before it.
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// The text of a file's bytes, without a byte order mark.
///
/// # Errors
/// [`Error::BadFile`] where it is not UTF-8.
pub fn from_bytes(file: &str, bytes: Vec<u8>) -> Result<String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Error::file(file, "is UTF-16 text, expected UTF-8"));
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            let mark = text.len() - without_bom(&text).len();
            text.drain(..mark);
            Ok(text)
        }
        Err(e) => Err(match what_else(e.as_bytes()) {
            Some(what) => Error::file(file, what),
            None => Error::file(file, format!("is not UTF-8 text (byte {})", e.utf8_error().valid_up_to())),
        }),
    }
}

/// Bytes that [`what_else`] looks at.
const BEGINNING: usize = 512;

/// What the beginning of a file shows that is no model file and no JSON of one: a web page in place of a download, a pointer, an archive.
pub fn what_else(bytes: &[u8]) -> Option<&'static str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let start = &bytes[..bytes.len().min(BEGINNING)];
    let begins = |with: &[&[u8]]| {
        let start = start.trim_ascii_start();
        with.iter().any(|w| start.len() >= w.len() && start[..w.len()].eq_ignore_ascii_case(w))
    };
    if bytes.is_empty() {
        Some("is empty")
    } else if begins(&[b"<!doctype", b"<html", b"<head", b"<body"]) {
        Some("is a web page: the download gave a page (of an error, or to sign in) in place of the file")
    } else if begins(&[b"version https://git-lfs"]) {
        Some("is a Git LFS pointer, not the file itself: `git lfs pull` fetches it")
    } else if begins(&[b"<?xml", b"<error"]) {
        Some("is an XML answer of a server (an error), not the file")
    } else if start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06") {
        Some(
            "is a zip archive or a PyTorch checkpoint (.bin, .pth): give the files inside a zip, or a checkpoint saved as safetensors or GGUF",
        )
    } else if start.len() > 2 && start[0] == 0x80 && (2..=5).contains(&start[1]) {
        Some("is a Python pickle (.bin, .pth, .pt), which can run code and is not read: save the weights as safetensors or GGUF")
    } else if start.starts_with(&[0x1f, 0x8b]) {
        Some("is compressed with gzip: unpack it first")
    } else if start.starts_with(b"\x89HDF\r\n") {
        Some("is an HDF5 file (Keras), expected safetensors or GGUF")
    } else if start.starts_with(b"ggml") || start.starts_with(b"lmgg") || start.starts_with(b"tjgg") || start.starts_with(b"fmgg") {
        Some("is a file of GGML's formats before GGUF: convert it to GGUF with llama.cpp")
    } else if start.get(4..8) == Some(b"TFL3") {
        Some("is a TensorFlow Lite file, expected safetensors or GGUF")
    } else if begins(&[b"{\"error", b"{\"message", b"{\"detail", b"{ \"error"]) {
        Some("is a server's answer in JSON (an error), not the file")
    } else {
        None
    }
}

/// Why a text is not the JSON that was expected: what it is in place of it, or else what the parser says.
pub fn not_json(text: &str, otherwise: impl FnOnce() -> String) -> String {
    what_else(text.as_bytes()).map_or_else(otherwise, str::to_string)
}

/// 98 041 344 → 93.5 MiB
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_left_out() {
        assert_eq!(without_bom("\u{feff}{}"), "{}");
        assert_eq!(without_bom("{}\u{feff}"), "{}\u{feff}");
        assert_eq!(from_bytes("f", b"\xef\xbb\xbf{}".to_vec()).unwrap(), "{}");
        assert!(from_bytes("f", vec![0xff, 0xfe, b'{', 0]).unwrap_err().to_string().contains("UTF-16"));
        assert!(from_bytes("f", vec![b'a', 0xff]).unwrap_err().to_string().contains("byte 1"));
    }

    #[test]
    fn what_is_there_in_place_of_a_file() {
        for (bytes, part) in [
            (&b""[..], "empty"),
            (b"\n <!DOCTYPE html><html>", "web page"),
            (b"<HTML><body>404", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "Git LFS"),
            (b"<?xml version=\"1.0\"?><Error><Code>AccessDenied", "XML"),
            (b"{\"error\":\"Repository not found\"}", "answer"),
            (b"PK\x03\x04\0\0", "zip"),
            (b"\x80\x02}q\0", "pickle"),
        ] {
            assert!(what_else(bytes).is_some_and(|w| w.contains(part)), "{part}");
        }
        for bytes in [&b"GGUF\x03\0\0\0"[..], b"{\"model_type\": \"llama\"}", b"\x10\0\0\0\0\0\0\0{\"a\":", b"{}"] {
            assert_eq!(what_else(bytes), None);
        }
    }
}
