//! Everything that happened in a simulation, a line each, and the SHA-256 of all lines.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use fipple_emulator::Time;
use ring::digest::{Context, SHA256};

/// A run's trace. Two runs are the same if their traces are, byte for byte; the digest is that of the file, as
/// `sha256sum` shows it.
pub struct Trace {
    digest: Context,
    file: Option<BufWriter<File>>,
    line: Vec<u8>,
    lines: u64,
    failed: Option<io::Error>,
}

impl Default for Trace {
    fn default() -> Self {
        Self { digest: Context::new(&SHA256), file: None, line: Vec::new(), lines: 0, failed: None }
    }
}

impl Trace {
    /// A trace that is written to a file as well.
    ///
    /// # Errors
    /// If the file cannot be made.
    #[expect(clippy::disallowed_methods, reason = "a trace is for people, and written to the real disk")]
    pub fn to_file(path: &Path) -> io::Result<Self> {
        Ok(Self { file: Some(BufWriter::new(File::create(path)?)), ..Self::default() })
    }

    /// Adds a line.
    pub fn record(&mut self, at: Time, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to memory does not fail.
        let _ = writeln!(self.line, "{:06}.{:06} {what}", at.0 / 1_000_000, at.0 % 1_000_000);
        self.digest.update(&self.line);
        self.lines += 1;
        if let Some(file) = &mut self.file
            && let Err(error) = file.write_all(&self.line)
        {
            self.failed.get_or_insert(error);
        }
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Ends the trace and gives its digest in hexadecimal.
    ///
    /// # Errors
    /// If the file could not be written.
    pub fn finish(mut self) -> io::Result<String> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if let Some(file) = &mut self.file {
            file.flush()?;
        }
        Ok(self.digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_lines() {
        let mut trace = Trace::default();
        trace.record(Time(1_500_000), format_args!("a"));
        // printf '000001.500000 a\n' | sha256sum
        let expected = "7f2a8182a6f2b6ab98c6f0592519f86b9c78c13b29e12f4474ee0ff5f2dca24d";
        assert_eq!((trace.lines(), trace.finish().unwrap()), (1, expected.to_owned()));
    }
}
