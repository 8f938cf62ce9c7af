//! Writing to standard output, where a reader such as `head` may leave at any time.

use std::io::{self, Write};

use serde_json::Value;

use crate::Error;

/// Prints `text` and a line's end. A reader that has left is no error.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::io("write the output")(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints JSON, indented.
pub(crate) fn print_json(value: &Value) -> Result<(), Error> {
    print(&format!("{value:#}"))
}
