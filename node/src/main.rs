//! The program `fipple`: a node and the command line, both in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    fipple::cli::main()
}
