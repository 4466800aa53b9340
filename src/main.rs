//! The `pristine` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    pristine::commands::main()
}
