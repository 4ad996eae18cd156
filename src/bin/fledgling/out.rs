//! Where lines go. A reader that has seen enough (`fledgling inspect F | head`) is no error of ours: the program ends without a word, with the
//! status that a shell gives to a program which SIGPIPE ended.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write as _};

/// 128 + SIGPIPE.
const READER_IS_GONE: i32 = 141;

/// Writes to standard output at once. Nothing waits in a buffer when this returns.
pub fn write(text: Arguments<'_>) {
    let mut out = std::io::stdout().lock();
    if let Err(e) = out.write_fmt(text).and_then(|()| out.flush()) {
        if e.kind() == ErrorKind::BrokenPipe {
            std::process::exit(READER_IS_GONE);
        }
        note(format_args!("fledgling: error[io]: standard output: {e}\n"));
        std::process::exit(3);
    }
}

/// Writes to standard error; if nobody reads that, nobody misses it.
pub fn note(text: Arguments<'_>) {
    let _ = std::io::stderr().write_fmt(text);
}

/// As `print!`, see [`write`].
#[macro_export]
macro_rules! say_part {
    ($($arg:tt)*) => { $crate::out::write(format_args!($($arg)*)) };
}

/// As `println!`, see [`write`].
#[macro_export]
macro_rules! say {
    () => { $crate::out::write(format_args!("\n")) };
    ($($arg:tt)*) => { $crate::out::write(format_args!("{}\n", format_args!($($arg)*))) };
}

/// As `eprintln!`, see [`note`].
#[macro_export]
macro_rules! note {
    ($($arg:tt)*) => { $crate::out::note(format_args!("{}\n", format_args!($($arg)*))) };
}
